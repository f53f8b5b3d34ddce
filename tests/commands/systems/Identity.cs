// Hashes passwords as PasswordHasher of ASP.NET Core Identity does: each third one in version 2,
// the others in version 3 with SHA-256 and SHA-512. Reads a password a line, and writes its hash.
using System;
using System.Security.Cryptography;

static class Identity
{
    static readonly RandomNumberGenerator random = RandomNumberGenerator.Create();

    static void Main()
    {
        string password;
        for (int n = 0; (password = Console.ReadLine()) != null; n++)
            Console.WriteLine(Convert.ToBase64String(
                n % 3 == 0 ? Version2(password)
                : n % 3 == 1 ? Version3(password, 1, HashAlgorithmName.SHA256)
                : Version3(password, 2, HashAlgorithmName.SHA512)));
    }

    static byte[] Version2(string password)
    {
        byte[] salt = Salt();
        byte[] output = new byte[1 + 16 + 32];  // it begins with 0
        salt.CopyTo(output, 1);
        Subkey(password, salt, 1000, HashAlgorithmName.SHA1).CopyTo(output, 17);
        return output;
    }

    static byte[] Version3(string password, uint function, HashAlgorithmName name)
    {
        byte[] salt = Salt();
        byte[] output = new byte[13 + 16 + 32];
        output[0] = 1;
        Write(output, 1, function);
        Write(output, 5, 10000);
        Write(output, 9, 16);
        salt.CopyTo(output, 13);
        Subkey(password, salt, 10000, name).CopyTo(output, 29);
        return output;
    }

    static byte[] Salt()
    {
        byte[] salt = new byte[16];
        random.GetBytes(salt);
        return salt;
    }

    static byte[] Subkey(string password, byte[] salt, int iterations, HashAlgorithmName name)
    {
        return new Rfc2898DeriveBytes(password, salt, iterations, name).GetBytes(32);
    }

    static void Write(byte[] output, int at, uint number)
    {
        for (int n = 0; n < 4; n++)
            output[at + n] = (byte)(number >> (24 - 8 * n));
    }
}
