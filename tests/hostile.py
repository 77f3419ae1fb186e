"""Texts that do harm where somebody trusts them: as an id, a query, a title, a line on a screen."""

from __future__ import annotations

RIGHT_TO_LEFT = "\u202e"
TERMINAL = {
    "clears the screen": "milk\x1b[2J\x1b[H",
    "sets the title": "milk\x1b]0;owned\x07",
    "opens a link": "milk\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "C1 control": "milk\x9b2Jeggs",
    "goes back": "milk\r\b\b\bPASS",
    "right to left": f"milk{RIGHT_TO_LEFT}sgge",
    "isolates": "\u2067milk\u2069",
    "rich markup": "[bold red]milk[/bold red] [link=http://evil.example]eggs[/link]",
    "markup that does not close": "milk [/nothing] [",
    "line separator": "milk\u2028eggs",
    "bell": "milk\x07",
    "eight bits": "\x90q\x9c",
    "answers back": "milk\x1b[6n\x1b[c",
}
IDS = {
    "colon": "a:b::c",
    "slash": "../../etc/passwd",
    "pipe": "a|b",
    "NUL": "a\0b",
    "newline": "a\nb",
    "CR LF": "a\r\nSET x y\r\n",
    "glob": "*?[a-z]",
    "hash tag": "{a}b",
    "percent": "%s%n%00",
    "emoji": "👩‍👩‍👧🍓",
    "right to left": f"a{RIGHT_TO_LEFT}b",
    "terminal": "a\x1b[2Jb",
    "HTML": "<script>alert(1)</script>",
    "SQL": "a'; DROP TABLE users; --",
    "spaces": "  a  ",
    "only a space": " ",
    "digits of another script": "١٢٣",
    "not normal": "e\u0301",
    "replacement": "\ufffd",
    "no character": "\uffff",
    "256 characters": "x" * 256,
    "256 wide characters": "🍓" * 256,
}
QUERIES = {
    **TERMINAL,
    "HTML": "<img src=x onerror=alert(1)>",
    "NUL": "milk\0eggs",
    "newlines": "milk\n\neggs\r\n",
    "format": "%s %n {0} ${x} {{y}}",
    "a megabyte of accents": "a" + "\u0301" * 1000,
    "only controls": "\x01\x02\x03",
}
