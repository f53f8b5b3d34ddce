"""The application server: threads, because a request mostly waits for the database.

Why gunicorn and these numbers: docs/measurements.md.
"""

worker_class = "gthread"
workers = 2
threads = 8
timeout = 30
# Access logs are for the proxy in front; the request line here can hold a WsAccessKey.
accesslog = None
# No larger request line than the calls need.
limit_request_line = 4094
# Nothing manages the server while it runs; a socket for that is one more way in.
control_socket_disable = True
