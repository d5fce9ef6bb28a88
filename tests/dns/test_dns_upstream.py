"""Questions for other servers, against servers of our own on loopback; time is a number that the tests set."""

from __future__ import annotations

import contextlib
import socket
import struct

import dnskit
import pytest
from dnskit import read
from upstreamworld import World, answering, cut, saying, silent, world

from director.guest.dns.servers import Servers, server_of

__all__ = ["world"]  # a fixture


def test_the_answer_is_passed_on_under_the_askers_number(world: World) -> None:
    reply = world.ask(world.resolver(answering("1.2.3.4")), number=0x4711)
    assert (reply.answers, reply.number, reply.authoritative) == (("1.2.3.4",), 0x4711, False)


def test_row_31_after_a_denial_the_next_is_asked(world: World) -> None:
    assert world.ask(world.resolver(saying(3), answering("1.2.3.4"))).answers == ("1.2.3.4",)


def test_what_all_deny_does_not_exist(world: World) -> None:
    assert world.ask(world.resolver(saying(3), silent)).code == "NXDOMAIN"


def test_row_32_silence_is_a_failure_and_not_a_denial(world: World) -> None:
    began = world.now
    assert world.ask(world.resolver(silent, silent)).code == "SERVFAIL"
    assert world.now - began == pytest.approx(4, abs=1), "two seconds for each"


@pytest.mark.parametrize("code", [2, 5])
def test_a_failing_server_is_passed_over(world: World, code: int) -> None:
    assert world.ask(world.resolver(saying(code), answering("1.2.3.4"))).answers == ("1.2.3.4",)


def test_without_servers_the_answer_is_a_failure(world: World) -> None:
    assert world.ask(world.resolver()).code == "SERVFAIL"


def test_a_server_that_was_silent_is_not_asked_first_again(world: World) -> None:
    resolver = world.resolver(silent, answering("1.2.3.4"), smart=True)
    for number in range(3):
        world.ask(resolver, f"n{number}.example")
    world.asked.clear()
    world.ask(resolver, "last.example")
    assert world.asked == [1]


def test_answers_with_a_wrong_number_or_question_are_not_believed(world: World) -> None:
    right = answering("1.2.3.4")

    def wrong_number(packet: bytes) -> bytes:
        return bytes([packet[0] ^ 1]) + right(packet)[1:]

    def wrong_question(packet: bytes) -> bytes:
        return right(packet).replace(b"example", b"exbmple")

    assert world.ask(world.resolver(wrong_number, wrong_question)).code == "SERVFAIL"


def test_a_closed_port_goes_to_the_next_at_once(world: World) -> None:
    resolver = world.resolver(silent, answering("1.2.3.4"))
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.bind(("127.0.0.1", 0))
    address = closed.getsockname()
    closed.close()
    world.servers.use([address, world.server(answering("1.2.3.4"))])
    began = world.now
    assert world.ask(resolver).answers == ("1.2.3.4",)
    assert world.now - began < 1


def test_long_answers_are_cut_for_small_askers(world: World) -> None:
    def long(packet: bytes) -> bytes:
        answer = answering("1.2.3.4")(packet)
        return answer[:6] + struct.pack("!H", 60) + answer[8:] + answer[-16:] * 59

    resolver = world.resolver(long)
    assert world.ask(resolver).truncated
    assert len(world.ask(resolver, edns=4096).answers) == 60


@pytest.mark.parametrize(("text", "expected"), [
    ("10.0.0.2", ("10.0.0.2", 53)), ("10.0.0.2:5353", ("10.0.0.2", 5353)), ("fd00::1", ("fd00::1", 53)), ("[fd00::1]:54", ("fd00::1", 54)),
])
def test_addresses_of_servers(text: str, expected: tuple[str, int]) -> None:
    assert server_of(text) == expected


@pytest.mark.parametrize("text", ["", "example.com", "10.0.0.2:x", "10.0.0.300"])
def test_names_are_no_addresses_of_servers(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid IP address"):
        server_of(text)


def test_the_references_answer_to_silence_is_there_for_those_who_need_it(world: World) -> None:
    reply = world.ask(world.resolver(silent, reference=True))
    assert (reply.code, reply.authoritative, reply.recursion_available, reply.edns) == ("NXDOMAIN", False, False, None)


def test_servfail_stays_servfail_unless_another_denies(world: World) -> None:
    assert world.ask(world.resolver(saying(2), saying(2))).code == "SERVFAIL"
    assert world.ask(world.resolver(saying(2), saying(3))).code == "NXDOMAIN"
    assert world.ask(world.resolver(saying(5))).code == "SERVFAIL"


def test_a_denial_does_not_wait_for_one_who_was_silent_a_moment_ago(world: World) -> None:
    resolver = world.resolver(saying(3), silent)
    world.ask(resolver, "one.example")
    began = world.now
    assert world.ask(resolver, "two.example").code == "NXDOMAIN"
    assert world.now == began


def test_serial_asks_in_the_listed_order_every_time(world: World) -> None:
    resolver = world.resolver(silent, answering("1.2.3.4"))
    for number in range(3):
        world.ask(resolver, f"n{number}.example")
    assert world.asked == [0, 1] * 3


def test_the_slow_one_is_asked_last_and_again_when_that_is_long_ago() -> None:
    now = [0.0]
    fast, slow = ("10.0.0.1", 53), ("10.0.0.2", 53)
    servers = Servers([slow, fast], lambda: now[0])
    servers.answered(slow, 0.8)
    servers.answered(fast, 0.02)
    assert servers.order() == [fast, slow]
    servers.failed(fast, 2.0)
    assert servers.order() == [slow, fast]
    assert servers.rests(fast)
    now[0] = 1.3
    assert not servers.rests(fast), "one failure is forgiven soon"
    for _ in range(10):
        servers.failed(fast, 2.0)
    now[0] += 44.0
    assert servers.rests(fast), "ten in a row are not"
    now[0] += 32.0
    assert not servers.rests(fast), "but a minute is the most"


def test_several_at_once_on_demand(world: World) -> None:
    resolver = world.resolver(silent, answering("1.2.3.4"), silent, parallel=2)
    began = world.now
    assert world.ask(resolver).answers == ("1.2.3.4",)
    assert (world.now, sorted(world.asked)) == (began, [0, 1])


@pytest.mark.parametrize(("retries", "asked"), [(0, [0]), (2, [0, 0, 0])])
def test_retries_are_as_many_as_wanted(world: World, retries: int, asked: list[int]) -> None:
    assert world.ask(world.resolver(silent, retries=retries)).code == "SERVFAIL"
    assert world.asked == asked


def test_a_server_that_refuses_is_not_asked_once_more(world: World) -> None:
    world.ask(world.resolver(saying(2), retries=3))
    assert world.asked == [0]


def test_ids_and_ports_are_random_and_nothing_of_the_asker_travels(world: World) -> None:
    resolver = world.resolver(answering("1.2.3.4"))
    for number in range(40):
        world.ask(resolver, f"n{number}.example", number=0x1234, edns=4096, options=b"\0\x0a\0\x08secret!!")
    assert len({packet[:2] for packet in world.packets}) > 35
    assert not any(b"secret" in packet for packet in world.packets)
    assert all(packet.endswith(b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)) for packet in world.packets)


def test_dnssec_is_asked_for_when_the_asker_wants_it(world: World) -> None:
    resolver = world.resolver(answering("1.2.3.4"), cache=True)
    world.ask(resolver, edns=1232, more=0x8000)
    world.ask(resolver, edns=1232)
    assert [packet[-4:-2] for packet in world.packets] == [b"\x80\0", b"\0\0"], "and the answers are kept apart"


def test_guesses_are_not_believed_and_after_some_tcp_is_used(world: World) -> None:
    right = answering("6.6.6.6")

    def guessing(packet: bytes) -> list[bytes]:
        return [bytes([packet[0] ^ 1, number]) + right(packet)[2:] for number in range(30)]

    reply = world.ask(world.resolver(guessing, answering("1.2.3.4")))
    assert reply.answers == ("1.2.3.4",)


def test_a_right_answer_after_wrong_ones_is_believed(world: World) -> None:
    right = answering("1.2.3.4")

    def mixed(packet: bytes) -> list[bytes]:
        wrong = right(packet)
        return [wrong[:-1], wrong.replace(b"example", b"exbmple"), wrong + b"x", b"", wrong[:2] + b"\x01\0" + wrong[4:], right(packet)]

    assert world.ask(world.resolver(mixed)).answers == ("1.2.3.4",)


@pytest.mark.parametrize("tail", [
    b"\xc0\xff\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4",  # a pointer forward
    b"\xc0\x1d\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4",  # a pointer to itself
    b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\5\1\2\3\4\5",  # an address of five bytes
    b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x29",  # a name that is its own end
    b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3",  # cut off
])
def test_messages_that_are_none_are_not_passed_on(world: World, tail: bytes) -> None:
    def broken(packet: bytes) -> bytes:
        end = packet.index(b"\0", 12) + 5
        return packet[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + packet[12:end] + tail

    assert world.ask(world.resolver(broken)).code == "SERVFAIL"


def test_mixed_case_must_come_back_as_it_was_sent(world: World) -> None:
    def lowering(packet: bytes) -> bytes:
        end = packet.index(b"\0", 12) + 5
        return answering("6.6.6.6")(packet[:12] + packet[12:end].lower() + packet[end:])

    resolver = world.resolver(lowering, answering("1.2.3.4"), mixed_case=True)
    name = "a-long-name-with-many-letters.example"
    reply = world.ask(resolver, name)
    assert (reply.answers, reply.name) == (("1.2.3.4",), name + ".")
    assert any(byte in range(0x41, 0x5B) for byte in world.packets[0][12:40])


def test_a_server_that_knows_no_edns_is_asked_without(world: World) -> None:
    def old(packet: bytes) -> bytes:
        return answering("1.2.3.4")(packet) if packet[11] == 0 else packet[:2] + struct.pack("!HHHHH", 0x8181, 0, 0, 0, 0)

    assert world.ask(world.resolver(old)).answers == ("1.2.3.4",)


def test_truncated_answers_are_fetched_over_tcp(world: World) -> None:
    resolver = world.resolver(cut)
    with contextlib.closing(socket.create_server(world.servers.order()[0])) as listener:
        replies = world.begin(resolver, "example.com", edns=1232)
        listener.settimeout(5)
        world.pump(lambda: bool(world.asked))
        for _ in range(20):
            world.loop.turn(0.002)
        with listener.accept()[0] as sock:
            sock.settimeout(5)
            for _ in range(20):
                world.loop.turn(0.002)
            packet = sock.recv(4096)
            assert struct.unpack("!H", packet[:2])[0] == len(packet) - 2
            whole = answering("1.2.3.4")(packet[2:])
            sock.sendall(struct.pack("!H", len(whole)) + whole[:5])
            world.loop.turn(0.05)
            sock.sendall(whole[5:])
            for _ in range(20):
                world.loop.turn(0.002)
    assert [read(reply).answers for reply in replies] == [("1.2.3.4",)]


def test_a_truncated_answer_is_better_than_none(world: World) -> None:
    reply = world.ask(world.resolver(cut))
    assert (reply.code, reply.truncated) == ("NOERROR", True)


def test_who_asks_the_same_waits_for_the_same_answer(world: World) -> None:
    resolver = world.resolver(answering("1.2.3.4"))
    names = ["a.example", "A.example", "b.example", "a.EXAMPLE"]
    replies = [world.begin(resolver, name, number=number) for number, name in enumerate(names)]
    world.pump(lambda: all(replies))
    assert len(world.asked) == 2
    told = [read(reply[0]) for reply in replies]
    assert [(reply.number, reply.name) for reply in told] == [(0, "a.example."), (1, "A.example."), (2, "b.example."), (3, "a.EXAMPLE.")]


def test_many_questions_at_once_are_bounded(world: World) -> None:
    resolver = world.resolver(silent)
    replies = [world.begin(resolver, f"n{number}.example") for number in range(600)]
    for _ in range(3):
        world.loop.turn(0.01)
    refused = [reply for reply in replies if reply]
    assert len(refused) == 100
    assert {read(reply[0]).code for reply in refused} == {"SERVFAIL"}
    assert dnskit.ask(resolver, "q-s4.db.default.cf.bosh.").answers, "names of ours are answered meanwhile"


def test_relayed_answers_are_whole_messages_whatever_fits(world: World) -> None:
    def long(packet: bytes) -> bytes:
        answer = answering("1.2.3.4")(packet)
        opt = b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0)
        return answer[:6] + struct.pack("!HHH", 60, 0, 1) + answer[12:] + answer[-16:] * 59 + opt

    resolver = world.resolver(long)
    for edns in (None, 0, 512, 600, 1232, 4096):
        reply = world.ask(resolver, edns=edns)
        assert reply.size <= max(512, edns or 0)
        assert reply.edns == edns
        assert reply.truncated == (len(reply.answers) < 60)
        assert len(reply.answers) > 25
    whole = world.ask(resolver, tcp=True)
    assert len(whole.answers) == 60


def test_transfers_are_nobodys_business(world: World) -> None:
    assert world.ask(world.resolver(answering("1.2.3.4")), kind="AXFR").code == "REFUSED"
    assert world.asked == []


def test_a_socket_that_cannot_be_made_is_a_failure_and_no_crash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = world.resolver(answering("1.2.3.4"))

    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("director.guest.dns.upstream.socket.socket", none_left)
        replies = world.begin(resolver, "example.com")
        for _ in range(3):
            world.loop.turn(0.01)
    assert read(replies[0]).code == "SERVFAIL"
