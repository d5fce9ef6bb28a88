"""The resident Ruby process: limits, deaths, isolation."""

from __future__ import annotations

import os

import pytest
from render_builder import job, request

from director import errors
from director.render.engine import Failure, Source
from director.render.erb import Erb, Work
from director.render.renderer import Renderer


def work(*texts: str) -> list[Work]:
    return [Work("j", b"{}", b"{}", b"{}", [Source(f"j/{number}", text)]) for number, text in enumerate(texts)]


def test_a_template_that_kills_the_process_fails_alone() -> None:
    erb = Erb(isolate=False)
    outcomes = erb.fill_in(work("<%= 1 %>", "<% exit! %>", "<%= 3 %>"))
    assert outcomes[0] == ["1"]
    assert isinstance(outcomes[1][0], Failure)
    assert outcomes[2] == ["3"]
    erb.close()


def test_a_template_that_never_ends_fails_alone() -> None:
    erb = Erb(isolate=False, seconds=0.3)
    outcomes = erb.fill_in(work("<% loop { } %>", "<%= 2 %>"))
    assert outcomes == [[Failure("the template took too long", 1)], ["2"]]
    erb.close()


def test_a_template_that_blocks_the_whole_process_fails_alone() -> None:
    erb = Erb(isolate=False, seconds=0.2, grace_seconds=0.2)
    outcomes = erb.fill_in(work("<% Process.kill(:STOP, Process.pid) %>", "<%= 2 %>"))
    assert outcomes == [[Failure("the template does not end")], ["2"]]
    erb.close()


def test_deaths_are_bounded() -> None:
    erb = Erb(isolate=False, starts=3)
    outcomes = erb.fill_in(work(*[f"<% exit!({number}) %>" for number in range(6)]))
    failures = [item[0] for item in outcomes]
    assert all(isinstance(item, Failure) for item in failures)
    assert isinstance(failures[-1], Failure)
    assert "not tried" in failures[-1].message
    assert erb.fill_in(work("<%= 1 %>")) == [["1"]]
    erb.close()


def test_it_starts_again_after_it_was_killed_from_outside() -> None:
    erb = Erb(isolate=False)
    (first,) = erb.fill_in(work("<%= Process.pid %>"))[0]
    assert isinstance(first, str)
    os.kill(int(first), 9)
    (second,) = erb.fill_in(work("<%= Process.pid %>"))[0]
    assert isinstance(second, str)
    assert second != first
    erb.close()


def test_much_goes_in_and_comes_out() -> None:
    erb = Erb(isolate=False)
    outcomes = erb.fill_in(work(*["<%= 'x' * 3_000_000 %>"] * 3, *["y" * 2_000_000 + "<%= 1 %>"] * 3))
    assert [len(item[0]) for item in outcomes if isinstance(item[0], str)] == [3_000_000] * 3 + [2_000_001] * 3
    erb.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take rights away")
def test_templates_run_as_nobody_without_a_network() -> None:
    erb = Erb()
    text = "<%= Process.uid %> <%= Process.groups.inspect %> <%= require 'socket'; Socket.getifaddrs.map(&:name).uniq.inspect %>"
    (outcome,) = erb.fill_in(work(text))[0]
    assert outcome in ('65534 [] ["lo"]', "65534 [] []", '65534 [65534] ["lo"]')
    erb.close()


def test_without_ruby_erb_says_so_and_jinja_works() -> None:
    with Renderer("no-such-ruby") as renderer:
        (instance,) = renderer.render([request(job("{{ index }}", source="a.j2", monit="plain"))])
        assert instance.jobs[0].files[1].text == "0"
        with pytest.raises(errors.RenderError, match="there is no Ruby"):
            renderer.render([request(job("<%= 1 %>"))])
