"""The model of torch's allocator, against closed forms and a bookkeeping without pages."""

import random

from zoo.vram.allocator import MIB, Event, replayed, rounded


def events(*steps: int) -> list[Event]:
    """+n is a birth of n MiB, and -k the death of the k-th birth."""
    found, sizes = [], []
    for step in steps:
        if step > 0:
            sizes.append(step * MIB)
        number = len(sizes) if step > 0 else -step
        found.append(Event(number, sizes[number - 1], step > 0))
    return found


def test_a_storage_takes_whole_blocks_of_512_bytes():
    assert [rounded(n) for n in (1, 512, 513)] == [512, 512, 1024]


def test_the_peak_is_the_most_that_is_there_at_once():
    assert replayed(events(30, 50, -1, 20), {}).allocated == 80 * MIB
    assert replayed(events(30, 50, -1, 40), {}).allocated == 90 * MIB


def test_large_blocks_come_in_pages_of_twenty_and_small_ones_of_two():
    assert replayed(events(30), {}).reserved == 40 * MIB
    assert replayed([Event(1, 512, True)], {}).reserved == 2 * MIB
    assert replayed([Event(1, MIB, True), Event(2, MIB + 512, True)], {}).reserved == 22 * MIB


def test_what_was_freed_is_taken_again():
    assert replayed(events(40, -1, 40, -2, 40), {}).reserved == 40 * MIB


def test_neighbours_that_are_free_are_one_block():
    assert replayed(events(20, 20, 20, -1, -2, 40), {}).reserved == 60 * MIB
    assert replayed(events(20, 20, 20, -2, -1, 40), {}).reserved == 60 * MIB


def test_a_hole_that_is_too_small_stays_one():
    assert replayed(events(20, 20, 20, -1, -3, 40), {}).reserved == 80 * MIB  # the last block grows, the first does not


def test_the_end_which_can_grow_is_taken_last():
    taken = events(40, 20, 60, -1, -3, 30, 60)
    assert replayed(taken, {}).reserved == 120 * MIB  # 30 goes into the hole of 40, so that 60 finds the end


def test_parts_add_up_to_the_peak_and_are_those_of_that_moment():
    peak = replayed(events(30, 50, -1, 20), {1: "weights", 3: "gradients"})
    assert peak.parts == {"weights": 30 * MIB, "activations": 50 * MIB}


def test_reserved_never_falls_below_allocated_and_all_is_given_back_in_the_end():
    draw = random.Random(0)
    alive: dict[int, int] = {}
    log: list[Event] = []
    for number in range(1, 3000):
        if alive and draw.random() < 0.5:
            gone = draw.choice([*alive])
            log.append(Event(gone, alive.pop(gone), False))
        alive[number] = rounded(int(10 ** draw.uniform(2, 8)))
        log.append(Event(number, alive[number], True))
    at_once, most = 0, 0
    for event in log:
        at_once += event.size if event.is_birth else -event.size
        most = max(most, at_once)
    peak = replayed(log, {})
    assert peak.allocated == most <= peak.reserved <= 2 * most
    last = [Event(number, size, False) for number, size in alive.items()]
    assert replayed([*log, *last], {}).curve[-1] == 0
