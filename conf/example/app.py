#!/usr/bin/python3
"""A small web app to try upswap with: app.py [PORT]. Prints the port when it listens.

  /          a front page            /news      articles from an SQLite file
  /account   redirects to /login     /rss       the same articles as RSS
  /login     the form

RELEASE (shown on every page and in X-Release) and DATABASE come from the environment. The file is opened at
each request, so an app with a wrong path starts, listens and even answers: what only an uptest finds out.
"""

import html
import os
import signal
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELEASE = os.environ.get("RELEASE", "unknown")
DATABASE = os.environ.get("DATABASE", "news.db")


def articles():
    """(title, text) of every article, newest first."""
    database = sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True)
    try:
        return database.execute("SELECT title, text FROM article ORDER BY id DESC").fetchall()
    finally:
        database.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True

    def do_GET(self):
        page = {"/": self.front, "/news": self.news, "/rss": self.rss, "/login": self.login}
        try:
            if self.path == "/account":
                self.answer(302, "text/plain", "log in first\n", Location="/login")
            elif self.path in page:
                self.answer(200, *page[self.path]())
            else:
                self.answer(404, "text/plain", "there is no such page\n")
        except sqlite3.Error as fault:
            self.answer(500, "text/plain", f"the database {DATABASE}: {fault}\n")

    def front(self):
        return self.page("Welcome", '<p><a href="/news">News</a> <a href="/account">Your account</a></p>')

    def news(self):
        items = "".join(f"<h2>{html.escape(t)}</h2><p>{html.escape(x)}</p>" for t, x in articles())
        return self.page("News", items)

    def login(self):
        return self.page("Log in", '<form method="post"><input name="user"><button>Go</button></form>')

    def rss(self):
        items = "".join(
            f"<item><title>{html.escape(t)}</title><description>{html.escape(x)}</description></item>"
            for t, x in articles()
        )
        return (
            "application/rss+xml",
            f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>'
            f"<link>/news</link><description>News</description>{items}</channel></rss>\n",
        )

    @staticmethod
    def page(title, body):
        return "text/html", f"<!doctype html><title>{title}</title><h1>{title}</h1>{body}<hr>release {RELEASE}\n"

    def answer(self, status, kind, text, **fields):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Release", RELEASE)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(server.server_port, flush=True)
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
