// Serve the C# program of the page: mono page.exe PORT.

using System;
using System.IO;
using System.Net;
using System.Text.RegularExpressions;

public static partial class Webhooks
{
    static readonly string Secret = Environment.GetEnvironmentVariable("SECRET");

    static bool IsNew(string id)
    {
        var wasThere = File.Exists(id);
        File.WriteAllText(id, "");
        return !wasThere;
    }

    static void Handle(string json)
    {
        File.AppendAllText("handled", Regex.Match(json, "\"type\":\"(.+?)\"").Groups[1] + "\n");
    }

    public static void Main(string[] arguments)
    {
        var server = new HttpListener();
        server.Prefixes.Add("http://127.0.0.1:" + arguments[0] + "/");
        server.Start();
        while (true)
        {
            var context = server.GetContext();
            var body = new MemoryStream();
            context.Request.InputStream.CopyTo(body);
            var status = Receive(name => context.Request.Headers[name], body.ToArray());
            context.Response.StatusCode = status;
            context.Response.Close();
        }
    }
}
