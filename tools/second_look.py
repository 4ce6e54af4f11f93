"""The second look: what has failed in a run of everything at once is run once more, alone, when all else has ended.

Why, and why not more: docs/decisions/0019-a-failed-test-runs-once-more.md. What passes then counts as passed and is
told as unsteady; what fails again has failed. Only single tests are looked at again, and only while they are few.
"""
import dataclasses

import jobs

MOST = 3  # in the whole run
TAIL_LINES = 300


def doubting(judge, again):
    """The same judge, for a job that is one thing. `again()` makes the job for a second look at it, or is None where
    the first run has proved enough."""

    def judged(returncode, output):
        result = judge(returncode, output)
        job = again() if result.failed else None
        if job:
            result.failures = [jobs.Failure("", output, job, result.passed, result.failed)]
        return result

    return judged


@dataclasses.dataclass
class Look:
    unsteady: list = dataclasses.field(default_factory=list)  # names
    strays: list = dataclasses.field(default_factory=list)
    has_finished: bool = True


def look(planned, *, folder, cwd, tell):
    """Runs again what the results of `planned` hold to be doubtful, and puts these results right. Tells as it goes."""
    doubted = [(job, failure) for job in planned if job.result for failure in job.result.failures]
    if not doubted:
        return Look()
    if len(doubted) > MOST:
        print(f"no second look: {len(doubted)} have failed, and more than {MOST} are no accident")
        return Look()
    print(f"second look at {len(doubted)}, each by itself")
    for job, failure in doubted:
        failure.again.name = f"again {job.name} {failure.id}".rstrip()
        failure.again.needs = ()
    found = Look()

    def tell_again(job, output):
        of, failure = next(pair for pair in doubted if pair[1].again is job)
        if job.result.failed:
            tell(job, output)
            return
        of.result.passed += job.result.passed - failure.passed
        of.result.failed += job.result.failed - failure.failed
        name = f"{of.name} {failure.id}".rstrip()
        kept = folder / f"unsteady-{jobs.file_name(name)}.txt"
        tail = failure.output.rstrip().splitlines()[-TAIL_LINES:]
        kept.write_text("\n".join(tail) + "\n", errors="replace")
        found.unsteady.append(name)
        print(f"unsteady   {name}   (its first failure: {kept.relative_to(cwd)})", flush=True)

    runner = jobs.Runner([failure.again for _, failure in doubted], slots=1, folder=folder, cwd=cwd, tell=tell_again)
    found.has_finished = runner.run()
    found.strays = runner.strays
    return found
