// Behaves as the vendor's compiled .NET client does, and fails where that would fail:
//
// - joins a base address that ends with a slash, and writes parameters in lower case;
// - posts null where it has nothing to send;
// - reads ping into a string, and XML with XmlSerializer, which knows one root and no namespace;
// - keeps its first refresh token, and expects each answer to repeat it.
//
// It asks on standard output for codes, and for days to pass.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Xml.Serialization;

public class OptInTo2FARequest { public string MobileNumber; }
public class OptInTo2FAResult { public int ProviderUserId; }
public class Verify2FAOptInRequest { public int ProviderUserId; public string Otp; }
public class OptOutFrom2FARequest { public string Otp; }
public class Link { public string rel, href, method, title; }
public class BaseResponseModel { public List<Link> _links; public string StatusMessage; }
public class OAuthPasswordCredentialsGrantRequest
{
    public string grant_type, username, password, scope, verification_code;
}
public class OAuthRefreshAccessTokenRequest { public string grant_type, refresh_token, scope; }
public class OAuthAccessTokenGrant { public string access_token, token_type, refresh_token, scope; public int expires_in; }
public class OAuthGrantRequestError { public string error, error_description; }

public class Response
{
    public HttpStatusCode Status;
    public string Raw, MediaType;

    public T Json<T>() where T : class
    {
        var bytes = new MemoryStream(Encoding.UTF8.GetBytes(Raw));
        return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(bytes);
    }

    public T Xml<T>() { return (T)new XmlSerializer(typeof(T)).Deserialize(new StringReader(Raw)); }
}

public class Proxy
{
    readonly string root, file, key;
    public string BearerToken;

    public Proxy(string baseUri, string file, string key = null)
    {
        root = baseUri + "/";
        this.file = file;
        this.key = key;
    }

    public Response Get(string path, string accept = "application/json")
    {
        return Send(HttpMethod.Get, path, null, accept);
    }

    public Response PostJson<T>(string path, T body) where T : class
    {
        var stream = new MemoryStream();
        if (body == null) stream.Write(Encoding.UTF8.GetBytes("null"), 0, 4);
        else new DataContractJsonSerializer(typeof(T)).WriteObject(stream, body);
        return Post(path, stream, "application/json");
    }

    public Response PostXml<T>(string path, T body)
    {
        var stream = new MemoryStream();
        new XmlSerializer(typeof(T)).Serialize(stream, body);
        return Post(path, stream, "text/xml");
    }

    Response Post(string path, MemoryStream body, string mediaType)
    {
        var content = new ByteArrayContent(body.ToArray());
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(mediaType + "; charset=utf-8");
        return Send(HttpMethod.Post, path, content, mediaType);
    }

    Response Send(HttpMethod method, string path, HttpContent content, string accept)
    {
        var query = (key == null ? "?" : "?wsaccesskey=" + key + "&") + "fileid=" + file;
        var request = new HttpRequestMessage(method, root + path + query) { Content = content };
        using (var client = new HttpClient())
        {
            client.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue(accept));
            if (BearerToken != null)
                client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", BearerToken);
            var response = client.SendAsync(request).Result;
            return new Response
            {
                Status = response.StatusCode,
                Raw = response.Content.ReadAsStringAsync().Result,
                MediaType = response.Content.Headers.ContentType.MediaType,
            };
        }
    }
}

public static class SdkClient
{
    static string Ask(string question)
    {
        Console.WriteLine(question);
        return Console.ReadLine();
    }

    static string AskForCode() { return Ask("Enter the code from the text message:"); }

    static void Check(bool holds, string what, Response response)
    {
        if (!holds) throw new Exception(what + ": " + (int)response.Status + " " + response.Raw);
    }

    static Response Ok(Response response)
    {
        Check(response.Status == HttpStatusCode.OK, "refused", response);
        return response;
    }

    static void Pings(Proxy proxy)
    {
        var response = Ok(proxy.Get("authorisation/Ping"));
        Check(response.Json<string>() == "true", "ping is not true", response);
    }

    static void DoesNotPing(Proxy proxy)
    {
        var response = proxy.Get("authorisation/Ping");
        Check(response.Status == HttpStatusCode.Unauthorized, "an old token pings", response);
    }

    static void OptInByKey(Proxy proxy, string number)
    {
        Pings(proxy);
        var ping = Ok(proxy.Get("authorisation/Ping", "text/xml"));
        Check(ping.Xml<bool>() && ping.MediaType == "text/xml", "ping is not true", ping);

        var optIn = Ok(proxy.PostJson("User/opt-in-to-2fa", new OptInTo2FARequest { MobileNumber = number }));
        var verify = new Verify2FAOptInRequest { ProviderUserId = optIn.Json<OptInTo2FAResult>().ProviderUserId };

        var soon = proxy.PostJson("User/opt-in-to-2fa", new OptInTo2FARequest { MobileNumber = number });
        Check(soon.Json<BaseResponseModel>()._links.Last().title == "send_limit", "no code", soon);
        // Its users see no header, so the seconds must stand in the message.
        Check(soon.Json<BaseResponseModel>().StatusMessage.Any(char.IsDigit), "no seconds", soon);

        verify.Otp = AskForCode();
        var wrong = proxy.PostXml("User/verify-2fa-opt-in", verify);
        Check(wrong.Status == HttpStatusCode.BadRequest && wrong.MediaType == "text/xml", "not refused", wrong);
        Check(wrong.Xml<BaseResponseModel>()._links.Last().title == "otp_incorrect", "no code", wrong);

        verify.Otp = AskForCode();
        var right = Ok(proxy.PostXml("User/verify-2fa-opt-in", verify));
        Check(right.Xml<BaseResponseModel>()._links.Count == 1, "no link", right);

        var again = proxy.PostJson("User/verify-2fa-opt-in", verify);
        Check(again.Json<BaseResponseModel>()._links.Last().title == "already_verified", "no code", again);
    }

    static OAuthAccessTokenGrant SignIn(Proxy proxy, string user, string password, string file)
    {
        var request = new OAuthPasswordCredentialsGrantRequest
        {
            grant_type = "password", username = user, password = password,
            scope = "FULL FILEID:" + file, verification_code = "",
        };
        var asked = proxy.PostJson("authorisation/token", request);
        Check(asked.Json<OAuthGrantRequestError>().error == "2fa_code_required", "no code asked for", asked);

        request.verification_code = AskForCode();
        var answer = Ok(proxy.PostJson("authorisation/token-2fa", request));
        Check(answer.Json<OAuthAccessTokenGrant>().scope == "full fileid:" + file, "another scope", answer);
        return answer.Json<OAuthAccessTokenGrant>();
    }

    static void Refresh(Proxy proxy, OAuthAccessTokenGrant first, string scope)
    {
        var old = proxy.BearerToken;
        var answer = Ok(proxy.PostJson("authorisation/refresh", new OAuthRefreshAccessTokenRequest
        {
            grant_type = "refresh_token", refresh_token = first.refresh_token, scope = scope,
        }));
        var grant = answer.Json<OAuthAccessTokenGrant>();
        Check(grant.access_token != old, "the same access token", answer);
        Check(grant.refresh_token == first.refresh_token, "another refresh token", answer);
        proxy.BearerToken = grant.access_token;
        Pings(proxy);
    }

    static void OptOut(Proxy proxy)
    {
        var asked = proxy.PostJson<OptOutFrom2FARequest>("User/opt-out-from-2fa", null);
        Check(asked.Json<BaseResponseModel>()._links.Last().title == "2fa_code_required", "no code asked for", asked);
        Ok(proxy.PostJson("User/opt-out-from-2fa", new OptOutFrom2FARequest { Otp = AskForCode() }));
    }

    static void Main(string[] arguments)
    {
        string url = arguments[0], file = arguments[1], key = arguments[2],
            user = arguments[3], password = arguments[4], number = arguments[5];

        OptInByKey(new Proxy(url, file, key), number);
        var proxy = new Proxy(url, file);
        var first = SignIn(proxy, user, password, file);
        proxy.BearerToken = first.access_token;
        Pings(proxy);
        for (var refreshes = 0; refreshes < 5; refreshes++)
        {
            Ask("Let 5 days pass:");
            DoesNotPing(proxy);
            Refresh(proxy, first, refreshes % 2 == 0 ? "FULL" : null);
        }
        OptOut(proxy);
        Console.WriteLine("Done.");
    }
}
