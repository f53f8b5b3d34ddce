// Turn two-factor sign-in on and off again for one person. C# 6, no packages:
//
//     mcs -r:System.Net.Http -r:System.Runtime.Serialization OptIn.cs
//     API_URL=http://localhost:8000 API_FILE_ID=777 API_USER=ann API_PASSWORD=... \
//       mono OptIn.exe "0491 570 156"
//
// With API_KEY (an access key) in place of API_USER and API_PASSWORD, no token is needed.
// With API_FORMAT=xml it speaks XML.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Threading.Tasks;
using System.Xml.Serialization;

public class OptInTo2FARequest { public string MobileNumber; }
public class OptInTo2FAResult { public int ProviderUserId; }
public class Verify2FAOptInRequest { public int ProviderUserId; public string Otp; }
public class OptOutFrom2FARequest { public string Otp; }
public class Link { public string rel, href, method, title; }

[DataContract]
public class BaseResponseModel
{
    [DataMember] public string StatusMessage;
    [DataMember(Name = "_links"), XmlArray("_links")] public List<Link> Links;
}

public class OAuthPasswordCredentialsGrantRequest
{
    public string grant_type = "password", username, password, verification_code;
}
public class OAuthRefreshAccessTokenRequest { public string grant_type = "refresh_token", refresh_token; }
public class OAuthAccessTokenGrant { public string access_token, refresh_token; }
public class OAuthGrantRequestError { public string error, error_description; }

// An answer that is not 200: the code is stable, the message is for a person.
public class Refused : Exception
{
    public readonly string Code;
    public readonly TimeSpan? RetryAfter; // null where waiting does not help

    public Refused(string code, string message, TimeSpan? retryAfter) : base(message)
    {
        Code = code;
        RetryAfter = retryAfter;
    }
}

public class Client
{
    readonly HttpClient http = new HttpClient();
    readonly string url, query, user, password, mediaType;
    string refreshToken;

    public Client(string url, string fileId, string key, string user, string password, string format)
    {
        this.url = url.TrimEnd('/');
        this.user = user;
        this.password = password;
        query = "?FileId=" + fileId + (key == null ? "" : "&WsAccessKey=" + Uri.EscapeDataString(key));
        mediaType = format == "xml" ? "application/xml" : "application/json";
        http.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue(mediaType));
    }

    public Task<T> Get<T>(string path)
    {
        return Send<T>(new HttpRequestMessage(HttpMethod.Get, url + path + query));
    }

    // Send one call. If its answer is lost, send it again: it takes effect once.
    public async Task<T> PostOnce<T>(string path, object body)
    {
        var key = Guid.NewGuid().ToString();
        try
        {
            return await Post<T>(path, body, key);
        }
        catch (Exception lost) when (lost is HttpRequestException || lost is TaskCanceledException)
        {
            return await Post<T>(path, body, key);
        }
    }

    public Task<T> Post<T>(string path, object body, string key = null)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, url + path + query);
        if (key != null) request.Headers.Add("Idempotency-Key", key);
        if (body != null)
        {
            request.Content = new ByteArrayContent(Write(body));
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(mediaType);
        }
        return Send<T>(request);
    }

    async Task<T> Send<T>(HttpRequestMessage request)
    {
        using (var response = await http.SendAsync(request))
        using (var body = await response.Content.ReadAsStreamAsync())
        {
            if (response.IsSuccessStatusCode) return Read<T>(body);

            var retryAfter = response.Headers.RetryAfter?.Delta;
            if (response.Content.Headers.ContentType?.MediaType != mediaType) // a proxy, for example
                throw new Refused("http_" + (int)response.StatusCode, "The service could not be reached.", retryAfter);
            if (typeof(T) == typeof(OAuthAccessTokenGrant))
            {
                var error = Read<OAuthGrantRequestError>(body);
                throw new Refused(error.error, error.error_description, retryAfter);
            }
            var model = Read<BaseResponseModel>(body); // the title of the last link is the code
            throw new Refused(model.Links.Last().title, model.StatusMessage, retryAfter);
        }
    }

    byte[] Write(object body)
    {
        var stream = new MemoryStream(); // not a StringWriter, which would declare UTF-16
        if (mediaType == "application/xml") new XmlSerializer(body.GetType()).Serialize(stream, body);
        else new DataContractJsonSerializer(body.GetType()).WriteObject(stream, body);
        return stream.ToArray();
    }

    T Read<T>(Stream body)
    {
        if (mediaType == "application/xml") return (T)new XmlSerializer(typeof(T)).Deserialize(body);
        return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(body);
    }

    // Get tokens for the password and, where two-factor is on, a code.
    public async Task SignIn()
    {
        var request = new OAuthPasswordCredentialsGrantRequest { username = user, password = password };
        try
        {
            Keep(await Post<OAuthAccessTokenGrant>("/authorisation/token", request));
        }
        catch (Refused refused) when (refused.Code == "2fa_code_required")
        {
            Keep(await Program.AskForCode(code =>
            {
                request.verification_code = code;
                return Post<OAuthAccessTokenGrant>("/authorisation/token-2fa", request);
            }));
        }
        Console.WriteLine("Signed in.");
    }

    // Get a new access token, or sign in again where the refresh token has ended.
    public async Task Refresh()
    {
        try
        {
            var request = new OAuthRefreshAccessTokenRequest { refresh_token = refreshToken };
            Keep(await Post<OAuthAccessTokenGrant>("/authorisation/refresh", request));
            Console.WriteLine("Refreshed.");
        }
        catch (Refused refused) when (refused.Code == "invalid_grant")
        {
            await SignIn();
        }
    }

    void Keep(OAuthAccessTokenGrant tokens)
    {
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", tokens.access_token);
        refreshToken = tokens.refresh_token;
    }
}

public static class Program
{
    // Call send with what the person types until the code is right.
    public static async Task<T> AskForCode<T>(Func<string, Task<T>> send)
    {
        while (true)
        {
            Console.WriteLine("Enter the code from the text message:");
            var code = Console.ReadLine();
            if (code == null) throw new EndOfStreamException();
            try
            {
                return await send(code);
            }
            catch (Refused refused) when (
                new[] { "otp_incorrect", "invalid_grant", "invalid_request" }.Contains(refused.Code))
            {
                Console.WriteLine(refused.Message);
            }
        }
    }

    static async Task Run(string number)
    {
        Func<string, string> env = Environment.GetEnvironmentVariable;
        var client = new Client(env("API_URL"), env("API_FILE_ID"), env("API_KEY"),
            env("API_USER"), env("API_PASSWORD"), env("API_FORMAT"));
        if (env("API_USER") != null) await client.SignIn();
        Console.WriteLine("Ping: " + await client.Get<bool>("/authorisation/ping"));

        var optIn = await client.PostOnce<OptInTo2FAResult>(
            "/User/opt-in-to-2fa", new OptInTo2FARequest { MobileNumber = number });
        var answer = await AskForCode(code => client.Post<BaseResponseModel>("/User/verify-2fa-opt-in",
            new Verify2FAOptInRequest { ProviderUserId = optIn.ProviderUserId, Otp = code }));
        Console.WriteLine(answer.StatusMessage);

        if (env("API_USER") != null)
        {
            await client.Refresh(); // signs in again: turning two-factor on has ended the refresh token
            await client.Refresh();
        }

        try
        {
            await client.PostOnce<BaseResponseModel>("/User/opt-out-from-2fa", null); // without a code, it sends one
        }
        catch (Refused refused) when (refused.Code == "2fa_code_required") { }
        answer = await AskForCode(code => client.PostOnce<BaseResponseModel>(
            "/User/opt-out-from-2fa", new OptOutFrom2FARequest { Otp = code }));
        Console.WriteLine(answer.StatusMessage);
    }

    static int Main(string[] arguments)
    {
        try
        {
            Run(arguments[0]).GetAwaiter().GetResult();
            return 0;
        }
        catch (Refused refused)
        {
            var wait = refused.RetryAfter == null ? "" : $" (wait {refused.RetryAfter.Value.TotalSeconds} s)";
            Console.Error.WriteLine(refused.Code + ": " + refused.Message + wait);
            return 1;
        }
    }
}
