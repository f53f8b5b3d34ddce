"""Ask the server in this container whether it can serve, and end with 0 if so.

It is the health check of a container: ``python deploy/ready.py [port]``.
"""

import http.client
import os
import sys
from urllib.parse import urlsplit

port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
line.request("GET", "/readyz", headers={"Host": urlsplit(os.environ["BASE_URL"]).netloc})
answer = line.getresponse()
print(answer.read().decode(), end="")
sys.exit(answer.status != http.HTTPStatus.OK)
