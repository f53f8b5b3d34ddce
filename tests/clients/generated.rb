# Makes each call with the client that openapi-generator has generated as openapi_client.
#
#     generated.rb BASE_URL FILE NAME PASSWORD NUMBER
#
# For a test account in a sandbox. It prints what each call answers, as generated.py does.

require "json"
require "openapi_client"

base_url, file, name, password, number = ARGV
file_id = Integer(file)
address = URI(base_url)
OpenapiClient.configure do |config|
  config.scheme = address.scheme
  config.host = "#{address.host}:#{address.port}"
  config.server_index = nil
end
authorisation = OpenapiClient::AuthorisationApi.new
user = OpenapiClient::UserApi.new

sign_in = lambda do |more = {}|
  login = { grant_type: "password", username: name, password: password }
  OpenapiClient::OAuthPasswordCredentialsGrantRequest.new(login.merge(more))
end
code = lambda do
  texts = OpenapiClient::SandboxApi.new.sandbox_texts(file_id).texts
  texts.find { |text| text.to == number }.body.split.first
end
use = ->(grant) { OpenapiClient.configure { |config| config.access_token = grant.access_token } }
refused = lambda do |&call|
  call.call
  raise "It was not refused."
rescue OpenapiClient::ApiError => e
  JSON.parse(e.response_body)
end

use.(authorisation.authorisation_token(sign_in.call))
puts "ping #{authorisation.authorisation_ping(file_id: file_id)}"
request = OpenapiClient::OptInTo2FARequest.new(mobile_number: number)
opted = user.user_opt_in_to2fa(file_id, request, client_reference: "order-17")
request = OpenapiClient::Verify2FAOptInRequest.new(provider_user_id: opted.provider_user_id, otp: code.call)
verified = user.user_verify2fa_opt_in(file_id, request)
puts "verify #{verified.status_message} #{verified._links.first.title}"
puts "token #{refused.call { authorisation.authorisation_token(sign_in.call) }["error"]}"
grant = authorisation.authorisation_token2fa(sign_in.call(verification_code: code.call))
puts "token-2fa #{grant.token_type}"
request = OpenapiClient::OAuthRefreshAccessTokenRequest.new(
  grant_type: "refresh_token", refresh_token: grant.refresh_token
)
use.(authorisation.authorisation_refresh(request))
asked = refused.call { user.user_opt_out_from2fa(file_id) }
puts "opt-out #{asked["_links"].last["title"]}"
request = OpenapiClient::OptOutFrom2FARequest.new(otp: code.call)
done = user.user_opt_out_from2fa(file_id, opt_out_from2_fa_request: request)
puts "opt-out #{done.status_message}"
endpoints = OpenapiClient::EndpointsApi.new
url = "https://hooks.example.com/"
one = endpoints.add_endpoint(file_id, OpenapiClient::EndpointRequest.new(url: url)).endpoint_id
change = OpenapiClient::EndpointChangeRequest.new(url: "#{url}2", state: "off")
puts "changed #{endpoints.change_endpoint(one, file_id, change).state}"
secret = endpoints.replace_endpoint_secret(one, file_id).secret
puts "endpoints #{secret[0, 6]} #{endpoints.list_endpoints(file_id).endpoints.map(&:url).join(" ")}"
puts "removed #{endpoints.remove_endpoint(one, file_id).status_message}"
OpenapiClient::EventsApi.new.events(file_id, after: 0, limit: 100).events.each do |event|
  next unless event.data.provider_user_id == opted.provider_user_id
  puts "event #{event.type} #{event.data.reference}"
end
