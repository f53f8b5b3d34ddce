# Serve the Ruby program of the page: ruby serve.rb PORT.

require "fileutils"
require "socket"

SECRET = ENV.fetch("SECRET")

def is_new(id)
  was_there = File.exist?(id)
  FileUtils.touch(id)
  !was_there
end

def handle(type, _data) = File.write("handled", "#{type}\n", mode: "a")

require "./page"

server = TCPServer.new("127.0.0.1", Integer(ARGV.first))
loop do
  line = server.accept
  next line.close unless line.gets # whoever only looked whether it serves

  headers = {}
  until (header = line.gets.chomp).empty?
    name, value = header.split(": ", 2)
    headers[name.downcase] = value
  end
  body = line.read(Integer(headers["content-length"]))
  line.write("HTTP/1.1 #{receive(headers, body)} Word\r\nConnection: close\r\n\r\n")
  line.close
end
