"""What chance alone hardly comes to: several steps of several people, one after the other.

A story begins wherever the machine is. What it does is judged by the model, step by
step, as if chance had done it; so none of them says what should happen.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from itertools import product

from tests.machine.machine import Machine
from tests.machine.model import CHANGE, DISABLE_AFTER, LOCK_AFTER, OPT_IN, OPT_OUT, SIGN_IN, TRIES
from tests.machine.model import Row as Number

Story = Callable[[Machine, int], None]

A_MOMENT = timedelta(seconds=0.1)
LONG_ENOUGH = 3600
"""Seconds after which no lock, wait, window or code of before is left."""


# -- what leads there --------------------------------------------------------------


def at_peace(machine: Machine, *people: int) -> None:
    """Nothing is counted, nothing is pending, and nobody must wait."""
    for who in people:
        person = machine.person(who)
        if person.is_counted:
            machine.staff_unlock(who)
        if person.active and person.active.suspended:
            machine.staff_act(who, "resume")
    machine.time_passes(LONG_ENOUGH)


def free_numbers(machine: Machine) -> list[int]:
    taken = {person.active.number for person in machine.model.people if person.active}
    return [n for n, number in enumerate(machine.numbers) if number not in taken]


def ask(machine: Machine, who: int, row: Number, purpose: str) -> None:
    if purpose == OPT_IN:
        file = [file.pk for file in machine.files].index(row.file)
        machine.ask_to_opt_in(who, file, machine.numbers.index(row.number))
    else:
        machine.ask_for_a_code(who, purpose)


def asked_to_opt_in(machine: Machine, who: int, number: int) -> Number:
    """Have *who*, at peace, wait for the code of an opt-in."""
    if machine.person(who).active:
        machine.staff_act(who, "revoke")
    machine.ask_to_opt_in(who, 0, number)
    return machine.person(who).rows[machine.numbers[number]]


def with_numbers(machine: Machine, *people: int) -> list[Number]:
    """Have all of them at peace, each with an active number."""
    at_peace(machine, *people)
    for who in people:
        if not machine.person(who).active:
            row = asked_to_opt_in(machine, who, free_numbers(machine)[0])
            machine.enter_code_of(who, row, OPT_IN)
    at_peace(machine)
    found = [machine.person(who).active for who in people]
    return [row for row in found if row]


def asked(machine: Machine, who: int, purpose: str) -> Number:
    """Have *who*, at peace, wait for a code for *purpose*."""
    if purpose == OPT_IN:
        at_peace(machine, who)
        return asked_to_opt_in(machine, who, free_numbers(machine)[0])
    [row] = with_numbers(machine, who)
    ask(machine, who, row, purpose)
    return row


def fail(machine: Machine, who: int, row: Number, times: int) -> None:
    """Enter wrong codes, as many as it takes, through locks and used-up codes."""
    for _ in range(times):
        code = row.codes.get(SIGN_IN)
        if code is None or code.tries >= TRIES or machine.locked_for(machine.person(who).own):
            machine.time_passes(121)  # the longest of waits and locks
        if code is None or code.tries >= TRIES:
            ask(machine, who, row, SIGN_IN)
        machine.enter_code_of(who, row, SIGN_IN, wrong_by=1)


# -- codes -------------------------------------------------------------------------


def the_right_code_for_a_number_in_use(machine: Machine, who: int) -> None:
    other = 1 - who
    [taken] = with_numbers(machine, other)
    at_peace(machine, who)
    row = asked_to_opt_in(machine, who, machine.numbers.index(taken.number))
    machine.enter_code_of(who, row, OPT_IN, wrong_by=1)
    machine.enter_code_of(who, row, OPT_IN)
    ask(machine, who, row, OPT_IN)


def a_used_code_again(machine: Machine, who: int, purpose: str) -> None:
    """At once, and while there is a new one."""
    row = asked(machine, who, purpose)
    text = row.codes[purpose].text
    machine.enter_code_of(who, row, purpose)
    machine.enter(who, row.file, row.id, purpose, text)
    machine.time_passes(60)
    ask(machine, who, row, purpose)
    machine.enter(who, row.file, row.id, purpose, text)


def an_opt_in_moves_to_another_file(machine: Machine, who: int) -> None:
    row = asked(machine, who, OPT_IN)
    text = row.codes[OPT_IN].text
    machine.time_passes(60)
    machine.ask_to_opt_in(who, 1, machine.numbers.index(row.number))
    for file in machine.files:
        machine.enter(who, file.pk, row.id, OPT_IN, text)
    machine.enter_code_of(who, row, OPT_IN)


def one_of_two_opt_ins(machine: Machine, who: int) -> None:
    at_peace(machine, who)
    if machine.person(who).active:
        machine.staff_act(who, "revoke")  # of three numbers, two are free then
    first, second = (asked_to_opt_in(machine, who, n) for n in free_numbers(machine)[:2])
    text = first.codes[OPT_IN].text
    machine.enter_code_of(who, second, OPT_IN)
    machine.enter(who, first.file, first.id, OPT_IN, text)


def a_new_key(machine: Machine, who: int, purpose: str) -> None:
    """Between the text, the same text again, and the right code."""
    row = asked(machine, who, purpose)
    machine.a_new_key_comes_first()
    machine.time_passes(60)
    ask(machine, who, row, purpose)
    machine.a_new_key_comes_first()
    machine.enter_code_of(who, row, purpose)


# -- locked, disabled, suspended, released -------------------------------------------


def a_lock(machine: Machine, who: int) -> None:
    """The right code to its last moment, and a text for anything; then the right code."""
    [row] = with_numbers(machine, who)
    fail(machine, who, row, LOCK_AFTER)
    for purpose in (SIGN_IN, OPT_OUT, CHANGE, OPT_IN):
        ask(machine, who, row, purpose)
    machine.enter_code_of(who, row, SIGN_IN)
    machine.sign_in(who, "", 0)
    machine.sign_in(who, "right", 0)
    ends = machine.person(who).own.locked_until
    if ends:
        machine.clock.move_to(ends - A_MOMENT)
        machine.enter_code_of(who, row, SIGN_IN)
        machine.clock.move_to(ends)
        machine.enter_code_of(who, row, SIGN_IN)


def disabled(machine: Machine, who: int) -> None:
    """Neither a right code nor time helps, but staff do."""
    [row] = with_numbers(machine, who)
    fail(machine, who, row, DISABLE_AFTER)
    machine.enter_code_of(who, row, SIGN_IN)
    machine.sign_in(who, "right", 0)
    machine.time_passes(LONG_ENOUGH)
    for purpose in (SIGN_IN, OPT_OUT, CHANGE, OPT_IN):
        ask(machine, who, row, purpose)
    machine.sign_in(who, "", 0)
    machine.staff_unlock(who)
    ask(machine, who, row, SIGN_IN)
    machine.enter_code_of(who, row, SIGN_IN)


def suspended(machine: Machine, who: int, purpose: str) -> None:
    row = asked(machine, who, purpose)
    machine.staff_act(who, "suspend")
    machine.enter_code_of(who, row, purpose)
    machine.time_passes(60)
    ask(machine, who, row, purpose)
    machine.sign_in(who, "", 0)
    machine.sign_in(who, "right", 0)
    machine.staff_act(who, "resume")
    machine.enter_code_of(who, row, purpose)


def an_opt_out(machine: Machine, who: int) -> None:
    """What was open before is nothing after it, and another number can come."""
    [row] = with_numbers(machine, who)
    ask(machine, who, row, SIGN_IN)
    ask(machine, who, row, OPT_OUT)
    text = row.codes[SIGN_IN].text
    machine.enter_code_of(who, row, OPT_OUT)
    machine.enter(who, row.file, row.id, SIGN_IN, text)
    ask(machine, who, row, SIGN_IN)
    machine.sign_in(who, "", 0)
    new = asked_to_opt_in(
        machine, who, next(n for n in free_numbers(machine) if machine.numbers[n] != row.number)
    )
    machine.enter_code_of(who, new, OPT_IN)


# -- all of them -------------------------------------------------------------------


def each(story: Callable[..., None], **kinds: Iterable[object]) -> dict[str, Story]:
    """One story for each combination, under a name that tells which."""
    return {
        " ".join([story.__name__, *map(str, values)]): partial(
            story, **dict(zip(kinds, values, strict=True))
        )
        for values in product(*kinds.values())
    }


PURPOSES = (OPT_IN, SIGN_IN, OPT_OUT, CHANGE)

STORIES: dict[str, Story] = {
    **each(the_right_code_for_a_number_in_use),
    **each(a_used_code_again, purpose=PURPOSES),
    **each(an_opt_in_moves_to_another_file),
    **each(one_of_two_opt_ins),
    **each(a_new_key, purpose=PURPOSES),
    **each(a_lock),
    **each(disabled),
    **each(suspended, purpose=(SIGN_IN, OPT_OUT)),
    **each(an_opt_out),
}
