"""Threads and processes on one token: every way to initialise, from many threads at once; 64 threads; several
processes. Each part is a process of its own, which the library may crash or hang: it has PATIENCE seconds (60). The
signatures are checked by hand."""

import os
import signal
import subprocess
import sys
import threading
import time

from common import end, part
from cryptoki import *  # noqa: F403: the names of the standard

THREADS, PROCESSES = 64, 8
PATIENCE = int(os.environ.get("PATIENCE", 60))


class Mutexes:
    """The four callbacks of C_Initialize, over Python's locks."""

    def __init__(self):
        self.locks, self.guard = {}, threading.Lock()

        def create(where):
            with self.guard:
                number = len(self.locks) + 1
                self.locks[number] = threading.Lock()
            where[0] = number
            return CKR_OK

        def destroy(number):
            return CKR_OK if number in self.locks else CKR_ARGUMENTS_BAD

        def lock(number):
            self.locks[number].acquire()
            return CKR_OK

        def unlock(number):
            self.locks[number].release()
            return CKR_OK

        self.all = [CREATE(create), USE(destroy), USE(lock), USE(unlock)]

    def arguments(self, flags):
        return InitializeArguments(*self.all, flags, None)


MUTEXES = Mutexes()
NONE = [CREATE(), USE(), USE(), USE()]
MODES = {
    "NULL": None,
    "nothing": InitializeArguments(*NONE, 0, None),
    "OS_LOCKING_OK": InitializeArguments(*NONE, OS_LOCKING_OK, None),
    "CANT_CREATE_OS_THREADS": InitializeArguments(*NONE, CANT_CREATE_OS_THREADS, None),
    "both flags": InitializeArguments(*NONE, CANT_CREATE_OS_THREADS | OS_LOCKING_OK, None),
    "callbacks or OS_LOCKING_OK": MUTEXES.arguments(OS_LOCKING_OK),
    # A library may say that it cannot: CKR_CANT_LOCK.
    "callbacks": MUTEXES.arguments(0),
}
WRONG = {
    "one callback": InitializeArguments(MUTEXES.all[0], *NONE[1:], 0, None),
    "three callbacks": InitializeArguments(*MUTEXES.all[:3], NONE[3], OS_LOCKING_OK, None),
    "pReserved": InitializeArguments(*NONE, 0, 1),
}


def initialize(arguments):
    return call("C_Initialize", byref(arguments) if arguments else None)


def modulus():
    with open("modulus") as file:
        return int(file.read(), 16)


def together(count, body):
    """Runs body(number) in so many threads, which begin at once; their results."""
    gate, results, errors = threading.Barrier(count), [None] * count, []

    def run(number):
        gate.wait()
        try:
            results[number] = body(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number], daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        assert not thread.is_alive(), "a thread hangs"
    assert not errors, (len(errors), errors[:3])
    return results


def work(where, n, rounds, name):
    """Sessions that come and go, a search, signatures."""
    for round in range(rounds):
        session = open_session(where)
        [key] = find(session, (CKA_CLASS, CKO_PRIVATE_KEY))
        for turn in range(2):
            message = f"{name} {round} {turn}".encode()
            verify(n, message, sign(session, key, message))
        ok("C_CloseSession", session)


def make_key():
    ok("C_Initialize", None)
    session = open_session(slot())
    login(session)
    with open("modulus", "w") as file:
        file.write(hex(generate_rsa(session)))


def many_threads(mode):
    ok("C_Initialize", byref(mode) if mode else None)
    where, n = slot(), modulus()
    login(open_session(where))
    together(THREADS, lambda number: work(where, n, 3, f"thread {number}"))
    ok("C_Finalize", None)


def many_logins():
    """Each thread logs in and finds that it, or another, has done so."""
    ok("C_Initialize", None)
    where, n = slot(), modulus()

    def body(number):
        session = open_session(where)
        login(session)
        [key] = find(session, (CKA_CLASS, CKO_PRIVATE_KEY))
        verify(n, b"message", sign(session, key, b"message"))

    together(32, body)


def every_mode(rounds=3):
    """All ways to initialise from several threads at once: one succeeds, and the library works for all."""
    modes, n = list(MODES.values()), modulus()
    for _ in range(rounds):
        rvs = together(2 * len(modes), lambda number: initialize(modes[number % len(modes)]))
        assert rvs.count(CKR_OK) == 1, rvs
        assert set(rvs) <= {CKR_OK, CKR_ALREADY_INITIALIZED, CKR_CANT_LOCK}, rvs
        where = slot()
        login(open_session(where))
        together(8, lambda number: work(where, n, 1, f"mode {number}"))
        rvs = together(8, lambda _: call("C_Finalize", None))
        assert rvs.count(CKR_OK) == 1 and set(rvs) == {CKR_OK, CKR_NOT_INITIALIZED}, rvs


def each_mode():
    """One way after the other, with threads that work."""
    n = modulus()
    for name, mode in MODES.items():
        rv = initialize(mode)
        if name == "callbacks" and rv == CKR_CANT_LOCK:
            continue
        assert rv == CKR_OK, (name, rv)
        where = slot()
        login(open_session(where))
        together(8, lambda number: work(where, n, 1, f"{name} {number}"))
        ok("C_Finalize", None)


def wrong_arguments():
    """From many threads at once: refused in each, and nothing is left of them."""
    wrong = list(WRONG.values())
    for _ in range(5):
        rvs = together(12, lambda number: initialize(wrong[number % len(wrong)]))
        assert set(rvs) == {CKR_ARGUMENTS_BAD}, rvs
    ok("C_Initialize", None)
    assert set(together(12, lambda number: initialize(wrong[number % len(wrong)]))) <= {
        CKR_ARGUMENTS_BAD,
        CKR_ALREADY_INITIALIZED,
    }
    slot()


def begin_and_end():
    """C_Initialize and C_Finalize in some threads while others work: an error, or work done."""
    over, n = threading.Event(), modulus()

    def body(number):
        if number < 2:
            for _ in range(20):
                call("C_Initialize", None)
                call("C_Finalize", None)
            over.set()
            return
        while not over.is_set():
            try:
                where = slot()
                login(open_session(where))
                work(where, n, 1, f"while {number}")
            except (Refused, ValueError, AssertionError) as error:
                # Nothing is found in a session whose user was logged out at the end of the library.
                assert "a wrong signature" not in str(error)

    together(8, body)
    call("C_Finalize", None)
    many_threads(None)


def one_of_many(number):
    """One of several processes: the common key, and an object of its own, which comes and goes."""
    ok("C_Initialize", None)
    where, n, own = slot(), modulus(), f"process {number}".encode()
    session = open_session(where)
    login(session)
    for round in range(5):
        made = create(session, (CKA_CLASS, CKO_DATA), (CKA_TOKEN, True), (CKA_LABEL, own), (CKA_VALUE, own * 10))
        [found] = find(session, (CKA_CLASS, CKO_DATA), (CKA_LABEL, own))
        assert value_of(session, found, CKA_VALUE) == own * 10
        work(where, n, 1, f"process {number} {round}")
        ok("C_DestroyObject", session, made)
        assert find(session, (CKA_LABEL, own)) == []
    create(session, (CKA_CLASS, CKO_DATA), (CKA_TOKEN, True), (CKA_LABEL, own), (CKA_VALUE, own))
    ok("C_Finalize", None)


def many_processes():
    """All at once; another one sees afterwards what each has left."""
    ok("C_Initialize", None)
    session = open_session(slot())
    login(session)
    before = len(find(session, (CKA_CLASS, CKO_DATA)))
    processes = [subprocess.Popen([sys.executable, __file__, "one_of_many", str(n)]) for n in range(PROCESSES)]
    statuses = [process.wait(timeout=PATIENCE) for process in processes]
    assert set(statuses) == {0}, statuses
    # A search may show what was there up to a second ago, and a fast machine is done within that.
    until, wanted, left = time.monotonic() + 5, {f"process {n}".encode() for n in range(PROCESSES)}, set()
    while left != wanted and time.monotonic() < until:
        time.sleep(0.1)
        left = {value_of(session, one, CKA_VALUE) for one in find(session, (CKA_CLASS, CKO_DATA))}
    assert left == wanted, (before, left)


def apart(function, *arguments, patience=PATIENCE):
    """A part, in a process of its own."""
    command = [sys.executable, __file__, function, *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **output)
    try:
        said, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        # With all that it has started.
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        raise AssertionError(f"it hangs: {said}") from None
    assert process.returncode == 0, f"{process.returncode}: {said}"


if len(sys.argv) > 1:
    if sys.argv[1] == "many_threads":
        many_threads(MODES[sys.argv[2]])
    else:
        globals()[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    # Without the library's destructors, which are not what is tested.
    os._exit(0)

apart("make_key", patience=60)
for mode in ["NULL", "OS_LOCKING_OK"]:
    part(f"{THREADS} threads after C_Initialize({mode})")(lambda: apart("many_threads", mode))
part("32 threads log in at once")(lambda: apart("many_logins"))
part("each way to initialise, one after the other")(lambda: apart("each_mode"))
part("every way to initialise, from many threads at once")(lambda: apart("every_mode"))
part("wrong arguments, from many threads at once")(lambda: apart("wrong_arguments"))
part("C_Initialize and C_Finalize while threads work")(lambda: apart("begin_and_end"))
part(f"{PROCESSES} processes at once")(lambda: apart("many_processes"))
end()
