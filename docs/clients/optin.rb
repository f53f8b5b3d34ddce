# Turn two-factor sign-in on and off again for one person. Ruby 3, standard library only.
#
#     API_URL=http://localhost:8000 API_FILE_ID=777 API_USER=ann API_PASSWORD=... \
#       ruby optin.rb "0491 570 156"
#
# With API_KEY (an access key) in place of API_USER and API_PASSWORD, no token is needed.

require "json"
require "net/http"
require "securerandom"

$stdout.sync = true

# An answer that is not 200: the code is stable, the message is for a person.
class Refused < StandardError
  attr_reader :code, :retry_after

  def initialize(response)
    answer = response.content_type == "application/json" ? JSON.parse(response.body) : {}
    @code, message =
      if answer.key?("error") # a token call
        answer.values_at("error", "error_description")
      elsif answer.key?("_links") # any other call: the title of the last link is the code
        [answer["_links"].last["title"], answer["StatusMessage"]]
      else # not from the service: from a proxy, for example
        ["http_#{response.code}", "The service could not be reached."]
      end
    @retry_after = response["Retry-After"] # seconds, as text; nil where waiting does not help
    super(message)
  end
end

class Client
  def initialize(url:, file_id:, key:, user:, password:)
    @url = url.chomp("/")
    @query = { FileId: file_id, WsAccessKey: key }.compact
    @login = { grant_type: "password", username: user, password: password }
  end

  # Send one call. If its answer is lost, send it again: it takes effect once.
  def post_once(path, body)
    key = { "Idempotency-Key" => SecureRandom.uuid }
    post(path, body, key)
  rescue IOError, SystemCallError, Timeout::Error
    post(path, body, key)
  end

  def post(path, body, headers = {})
    headers = { "Content-Type" => "application/json", **headers }
    request = Net::HTTP::Post.new(address(path), headers)
    request.body = body.to_json
    send_request(request)
  end

  def get(path) = send_request(Net::HTTP::Get.new(address(path)))

  # Get tokens for the password and, where two-factor is on, a code.
  def sign_in
    @tokens = begin
      post("authorisation/token", @login)
    rescue Refused => e
      raise unless e.code == "2fa_code_required"

      ask_for_code { |code| post("authorisation/token-2fa", { **@login, verification_code: code }) }
    end
    puts "Signed in."
  end

  # Get a new access token, or sign in again where the refresh token has ended.
  def refresh
    token = @tokens["refresh_token"]
    @tokens = post("authorisation/refresh", { grant_type: "refresh_token", refresh_token: token })
    puts "Refreshed."
  rescue Refused => e
    raise unless e.code == "invalid_grant"

    sign_in
  end

  private

  def address(path) = URI("#{@url}/#{path}?#{URI.encode_www_form(@query)}")

  def send_request(request)
    request["Accept"] = "application/json"
    request["Authorization"] = "Bearer #{@tokens['access_token']}" if @tokens
    https = request.uri.scheme == "https"
    response = Net::HTTP.start(request.uri.host, request.uri.port, use_ssl: https) do |http|
      http.request(request)
    end
    raise Refused, response unless response.is_a?(Net::HTTPOK)

    JSON.parse(response.body)
  end
end

# Call the block with what the person types until the code is right.
def ask_for_code
  puts "Enter the code from the text message:"
  yield ($stdin.gets || abort("No code.")).chomp # a string: to_i would lose leading zeros
rescue Refused => e
  raise unless %w[otp_incorrect invalid_grant invalid_request].include?(e.code)

  puts e.message
  retry
end

def main(number)
  client = Client.new(url: ENV.fetch("API_URL"), file_id: ENV.fetch("API_FILE_ID"),
                      key: ENV["API_KEY"], user: ENV["API_USER"], password: ENV["API_PASSWORD"])
  client.sign_in if ENV["API_USER"]
  puts "Ping: #{client.get('authorisation/ping')}"

  id = client.post_once("User/opt-in-to-2fa", { MobileNumber: number })["ProviderUserId"]
  answer = ask_for_code do |code|
    client.post("User/verify-2fa-opt-in", { ProviderUserId: id, Otp: code })
  end
  puts answer["StatusMessage"]

  if ENV["API_USER"]
    client.refresh # signs in again: turning two-factor on has ended the refresh token
    client.refresh
  end

  begin
    client.post_once("User/opt-out-from-2fa", {}) # without a code, it sends one
  rescue Refused => e
    raise unless e.code == "2fa_code_required"
  end
  answer = ask_for_code { |code| client.post_once("User/opt-out-from-2fa", { Otp: code }) }
  puts answer["StatusMessage"]
end

begin
  main(ARGV.fetch(0))
rescue Refused => e
  abort "#{e.code}: #{e.message}#{" (wait #{e.retry_after} s)" if e.retry_after}"
end
