"""What has more than one reading is refused, from clients and from instances (RFC 9112)."""

import os
import re

import pytest

from harness import http1
from harness.backend import Backend, canned
from harness.client import RawClient
from harness.daemon import ROOT


@pytest.fixture(scope="module")
def front(start_front):
    return start_front(Backend("framed"), limits={"head": "8k", "fields": 40})


def reason_words():
    """The words that doc/x-upswap.md lists."""
    with open(os.path.join(ROOT, "doc", "x-upswap.md"), encoding="utf-8") as file:
        return set(re.findall(r"`([a-z0-9-]+)`", file.read()))


GET = b"GET /x HTTP/1.1\r\nHost: app.test\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: app.test\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

BAD_REQUESTS = {
    "two_differing_content_lengths": (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    "two_equal_content_lengths": (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "a_list_of_content_lengths": (400, POST + b"Content-Length: 3, 3\r\n\r\nabc"),
    "a_negative_content_length": (400, POST + b"Content-Length: -3\r\n\r\nabc"),
    "a_signed_content_length": (400, POST + b"Content-Length: +3\r\n\r\nabc"),
    "a_hexadecimal_content_length": (400, POST + b"Content-Length: 0x3\r\n\r\nabc"),
    "an_empty_content_length": (400, POST + b"Content-Length:\r\n\r\n"),
    "a_content_length_past_64_bits": (400, POST + b"Content-Length: 18446744073709551616\r\n\r\nabc"),
    "content_length_with_transfer_encoding": (400, CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n"),
    "transfer_encoding_with_content_length_before": (
        400,
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "chunked_not_last": (400, POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    "chunked_twice": (400, POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    "chunked_in_two_fields": (400, CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "an_unknown_coding_alone": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "a_quoted_chunked": (400, POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    "chunked_with_a_vertical_tab": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "identity": (400, POST + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"),
    "an_empty_transfer_encoding": (400, POST + b"Transfer-Encoding:\r\n\r\n"),
    "transfer_encoding_in_http_1_0": (
        400,
        b"POST /x HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "a_coding_before_chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "a_bare_lf_after_the_start_line": (400, b"GET /x HTTP/1.1\nHost: app.test\r\n\r\n"),
    "a_bare_lf_after_a_field": (400, b"GET /x HTTP/1.1\r\nHost: app.test\nX: y\r\n\r\n"),
    "a_bare_lf_as_the_end": (400, GET + b"\n"),
    "a_bare_cr_in_a_value": (400, GET + b"X: a\rb\r\n\r\n"),
    "a_bare_cr_in_the_start_line": (400, b"GET /x\r HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_nul_in_a_value": (400, GET + b"X: a\0b\r\n\r\n"),
    "a_nul_in_a_name": (400, GET + b"X\0: a\r\n\r\n"),
    "a_nul_in_the_target": (400, b"GET /\0 HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_control_byte_in_a_value": (400, GET + b"X: a\x01b\r\n\r\n"),
    "a_delete_byte_in_a_value": (400, GET + b"X: a\x7fb\r\n\r\n"),
    "a_folded_line": (400, GET + b"X: a\r\n b\r\n\r\n"),
    "a_folded_line_with_a_tab": (400, GET + b"X: a\r\n\tb\r\n\r\n"),
    "white_space_before_the_first_field": (400, b"GET /x HTTP/1.1\r\n Host: app.test\r\n\r\n"),
    "a_space_before_the_colon": (400, GET + b"X : a\r\n\r\n"),
    "a_tab_before_the_colon": (400, GET + b"X\t: a\r\n\r\n"),
    "a_space_in_a_name": (400, GET + b"X Y: a\r\n\r\n"),
    "a_line_without_colon": (400, GET + b"nonsense\r\n\r\n"),
    "an_empty_name": (400, GET + b": a\r\n\r\n"),
    "a_name_with_a_parenthesis": (400, GET + b"X(: a\r\n\r\n"),
    "a_name_with_a_high_byte": (400, GET + b"X\xe4: a\r\n\r\n"),
    "a_method_that_is_no_token": (400, b"G(T /x HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "no_method": (400, b" /x HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "two_spaces_in_the_start_line": (400, b"GET  /x HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_tab_in_the_start_line": (400, b"GET\t/x HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_space_after_the_version": (400, b"GET /x HTTP/1.1 \r\nHost: app.test\r\n\r\n"),
    "a_space_in_the_target": (400, b"GET /a b HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_fragment_in_the_target": (400, b"GET /a#b HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_high_byte_in_the_target": (400, b"GET /\xe4 HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_target_without_slash": (400, b"GET x HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "an_asterisk_with_get": (400, b"GET * HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "no_version": (400, b"GET /x\r\nHost: app.test\r\n\r\n"),
    "a_version_in_lower_case": (400, b"GET /x http/1.1\r\nHost: app.test\r\n\r\n"),
    "a_version_of_two_digits": (400, b"GET /x HTTP/1.10\r\nHost: app.test\r\n\r\n"),
    "another_protocol": (400, b"GET /x ICAP/1.1\r\nHost: app.test\r\n\r\n"),
    "http_2_0_in_text": (505, b"GET /x HTTP/2.0\r\nHost: app.test\r\n\r\n"),
    "http_0_9": (505, b"GET /x HTTP/0.9\r\nHost: app.test\r\n\r\n"),
    "no_host": (400, b"GET /x HTTP/1.1\r\nX: y\r\n\r\n"),
    "two_hosts": (400, GET + b"Host: other.test\r\n\r\n"),
    "two_equal_hosts": (400, GET + b"Host: app.test\r\n\r\n"),
    "a_host_with_a_path": (400, b"GET /x HTTP/1.1\r\nHost: app.test/x\r\n\r\n"),
    "a_host_with_user_info": (400, b"GET /x HTTP/1.1\r\nHost: me@app.test\r\n\r\n"),
    "a_host_with_a_space": (400, b"GET /x HTTP/1.1\r\nHost: app test\r\n\r\n"),
    "a_host_with_a_bad_port": (400, b"GET /x HTTP/1.1\r\nHost: app.test:8x\r\n\r\n"),
    "a_host_with_a_port_too_large": (400, b"GET /x HTTP/1.1\r\nHost: app.test:65536\r\n\r\n"),
    "two_hosts_in_one_field": (400, b"GET /x HTTP/1.1\r\nHost: app.test, other.test\r\n\r\n"),
    "a_head_above_the_limit": (431, GET + b"X: " + b"a" * 9000 + b"\r\n\r\n"),
    "more_fields_than_the_limit": (431, GET + b"X: y\r\n" * 60 + b"\r\n"),
    "a_target_above_the_limit": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "connect": (501, b"CONNECT app.test:443 HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "a_tls_hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
}

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_request_with_this_fault_is_refused_and_the_connection_closed(front, name):
    status, data = BAD_REQUESTS[name]
    front.backend.forget()
    with front.client() as client:
        client.send(data + SMUGGLED)
        response = client.response()
        assert response.status == status
        assert response.upswap in reason_words()
        assert not response.keeps_alive
        client.assert_closed()
    assert front.backend.requests == []


BAD_CHUNKS = {
    "a_size_that_is_no_number": b"x\r\nabc\r\n0\r\n\r\n",
    "a_size_with_a_sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a_size_with_0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "an_empty_size": b"\r\nabc\r\n0\r\n\r\n",
    "a_size_past_64_bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a_space_before_the_size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a_size_ended_by_a_bare_lf": b"3\nabc\r\n0\r\n\r\n",
    "data_without_its_crlf": b"3\r\nabcd\r\n0\r\n\r\n",
    "data_ended_by_a_bare_lf": b"3\r\nabc\n0\r\n\r\n",
    "an_extension_with_a_bare_lf": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "an_extension_with_a_bare_cr": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "an_extension_that_is_no_token": b"3;(\r\nabc\r\n0\r\n\r\n",
    "an_extension_with_an_open_quote": b'3;a="b\r\nabc\r\n0\r\n\r\n',
    "extensions_without_end": b"1;a=" + b"b" * 5000 + b"\r\na\r\n0\r\n\r\n",
    "a_trailer_with_a_space_before_the_colon": b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    "a_folded_trailer": b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
    "a_trailer_ended_by_a_bare_lf": b"3\r\nabc\r\n0\r\nX: y\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_chunked_request_body_with_this_fault_never_completes_upstream(front, name):
    completed = []

    def script(connection, request):
        request.read_body(connection)
        completed.append(request.body)
        connection.answer()

    front.backend.on("/faulty", script)
    front.backend.forget()
    with front.client() as client:
        client.send(CHUNKED.replace(b"/x", b"/faulty") + b"\r\n" + BAD_CHUNKS[name] + SMUGGLED)
        response = client.response()
        assert response.status == 400
        assert response.upswap in reason_words()
        client.assert_closed()
    for connection in front.backend.connections:
        if b"/faulty" in connection.received:
            assert connection.ended.wait(5), "the cut request's connection was kept"
    assert completed == [] and front.backend.requests_of("/smuggled") == []


GOOD_REQUESTS = {
    "an_empty_line_before_it": b"\r\n" + GET + b"\r\n",
    "no_space_after_the_colon": b"GET /x HTTP/1.1\r\nHost:app.test\r\n\r\n",
    "white_space_around_a_value": b"GET /x HTTP/1.1\r\nHost: \t app.test \t \r\n\r\n",
    "high_bytes_in_a_value": GET + b"X: \xe4\xff\r\n\r\n",
    "an_empty_value": GET + b"X:\r\n\r\n",
    "a_method_nobody_knows": b"BREW /x HTTP/1.1\r\nHost: app.test\r\n\r\n",
    "a_coding_in_other_letters": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a_size_with_leading_zeros": CHUNKED + b"\r\n0003\r\nabc\r\n0\r\n\r\n",
    "a_chunk_extension": CHUNKED + b'\r\n3;a=b;c="d;\\""\r\nabc\r\n0\r\n\r\n',
    "a_host_with_a_port": b"GET /x HTTP/1.1\r\nHost: app.test:8080\r\n\r\n",
    "a_host_of_ipv6": b"GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "a_content_length_of_zero": POST + b"Content-Length: 0\r\n\r\n",
    "odd_but_legal_names": GET + b"!#$%&'*+-.^_`|~: y\r\n\r\n",
}


@pytest.mark.parametrize("name", GOOD_REQUESTS)
def test_an_unusual_but_valid_request_is_served_and_the_connection_kept(front, name):
    with front.client() as client:
        client.send(GOOD_REQUESTS[name])
        assert client.response().text == "framed"
        assert client.ask().text == "framed"


def test_chunk_extensions_do_not_reach_the_instance(front):
    front.backend.forget()
    with front.client() as client:
        client.send(CHUNKED + b"\r\n3;secret=1\r\nabc\r\n0;more\r\n\r\n")
        assert client.response().status == 200
    connection, request = front.backend.next_request()
    assert request.body == b"abc"
    assert b"secret" not in connection.received and b"more" not in connection.received


def test_a_request_that_comes_byte_by_byte_is_the_same_request(front):
    data = CHUNKED + b"X-Odd: y\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    front.backend.forget()
    with front.client() as client:
        for byte in data:
            client.send(bytes([byte]))
        assert client.response().status == 200
    assert front.backend.next_request()[1].body == b"abcde"


OK = b"HTTP/1.1 200 OK\r\n"

BAD_RESPONSES = {
    "two_differing_content_lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two_equal_content_lengths": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "content_length_with_transfer_encoding": OK
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a_content_length_that_is_no_number": OK + b"Content-Length: three\r\n\r\nabc",
    "chunked_not_last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked_in_http_1_0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a_bare_lf": b"HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\nabc",
    "a_bare_cr_in_a_value": OK + b"X: a\rb\r\nContent-Length: 3\r\n\r\nabc",
    "a_nul_in_a_value": OK + b"X: a\0b\r\nContent-Length: 3\r\n\r\nabc",
    "a_folded_line": OK + b"X: a\r\n b\r\nContent-Length: 3\r\n\r\nabc",
    "a_space_before_the_colon": OK + b"X : a\r\nContent-Length: 3\r\n\r\nabc",
    "a_line_without_colon": OK + b"nonsense\r\nContent-Length: 3\r\n\r\nabc",
    "a_status_of_two_digits": b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc",
    "a_status_of_600": b"HTTP/1.1 600 OK\r\nContent-Length: 3\r\n\r\nabc",
    "a_status_of_letters": b"HTTP/1.1 abc OK\r\nContent-Length: 3\r\n\r\nabc",
    "another_version": b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "no_http_at_all": b"220 mail.test ESMTP\r\n\r\n",
    "a_head_without_end": OK + b"X: " + b"a" * 40000,
    "a_204_with_a_body": b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
    "a_101_nobody_asked_for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_an_answer_with_this_fault_becomes_502_and_its_connection_is_closed(front, name):
    front.backend.on("/bad", BAD_RESPONSES[name])
    front.backend.forget()
    with front.client() as client:
        response = client.ask(target="/bad")
        assert response.status == 502
        assert response.upswap in reason_words()
        assert b"abc" not in response.body
    connection, _ = front.backend.next_request()
    assert connection.ended.wait(5), "the faulty upstream connection was kept"


CUT_RESPONSES = {
    "a_bad_chunk_size": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n",
    "a_chunk_without_crlf": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "a_bad_trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX : y\r\n\r\n",
}


@pytest.mark.parametrize("name", CUT_RESPONSES)
def test_an_answer_that_turns_bad_inside_its_body_never_looks_complete(front, name):
    front.backend.on("/cut", CUT_RESPONSES[name])
    with front.client() as client:
        client.request(target="/cut", fields=["Connection: close"])
        data = client.to_end_or_reset()
    assert not data.endswith(b"0\r\n\r\n")
    if data.startswith(b"HTTP/1.1 502"):
        return  # the fault was there before the head was passed on
    assert data.startswith(b"HTTP/1.1 200")


def test_an_answer_that_ends_before_its_length_never_looks_complete(front):
    front.backend.on("/short", canned(OK + b"Content-Length: 10\r\n\r\nabc", close=True))
    with front.client() as client:
        client.request(target="/short", fields=["Connection: close"])
        data = client.to_end_or_reset()
    head, _, body = data.partition(b"\r\n\r\n")
    assert (b" 502 " in head) or (b"Content-Length: 10" in head and len(body) < 10)


def test_bytes_after_an_answer_are_not_the_next_answer(front):
    poison = http1.answer("first") + http1.answer("poison")
    front.backend.on("/poison", poison)
    with front.client() as client:
        assert client.ask(target="/poison").text == "first"
        assert client.ask(target="/next").text == "framed"
        assert client.ask(target="/next").text == "framed"


def test_bytes_after_an_answer_never_reach_another_client(front):
    front.backend.on("/poison", http1.answer("first") + http1.answer("poison"))
    for _ in range(5):
        assert front.ask(target="/poison").text == "first"
        with RawClient(front.port) as client:
            assert client.ask(target="/next").text == "framed"
