"""Answers every request with its configuration; keeps a count on the persistent disk when there is one."""

import http.server
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
STORE = "/var/vcap/store"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        config = {key: value for key, value in CONFIG.items() if key != "password"}
        body = json.dumps({**config, "words": WORDS, "starts": STARTS}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def read(path):
    with open(path) as stream:
        return stream.read()


def count_start():
    """How often it was started with this persistent disk; 0 without one."""
    if not os.path.ismount(STORE):
        return 0
    path = os.path.join(STORE, "probe", "starts")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    count = int(read(path)) + 1 if os.path.exists(path) else 1
    with open(path, "w") as stream:
        stream.write(str(count))
        stream.flush()
        os.fsync(stream.fileno())
    return count


CONFIG = json.loads(read(sys.argv[1]))
WORDS = read(os.path.join(HERE, "words.txt")).strip()
if CONFIG["sick"]:
    sys.exit("last words of a sick probe")
STARTS = count_start()
print("listening on", CONFIG["port"], flush=True)
http.server.ThreadingHTTPServer(("", CONFIG["port"]), Handler).serve_forever()
