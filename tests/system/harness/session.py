"""A client that keeps its cookies."""


class Session:
    """A client that keeps its cookies, as a browser does, and tells what it was given."""

    def __init__(self, stand):
        self.stand = stand
        self.cookies = {}
        self.given = []  # Set-Cookie lines of the last answer

    def ask(self, target="/", fields=()):
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        lines = [*fields, *([f"Cookie: {pairs}"] if pairs else [])]
        answer = self.stand.ask(target=target, fields=lines)
        assert answer.status == 200, answer
        self.given = answer.all("Set-Cookie")
        for line in self.given:
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return answer.text
