"""Answers every request with a greeting."""

import http.server
import json
import sys

with open(sys.argv[1]) as stream:
    CONFIG = json.load(stream)


class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "{greeting} from {name}\n".format(**CONFIG).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", CONFIG["port"]), Greeter).serve_forever()
