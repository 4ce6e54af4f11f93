"""A plugin of pytest: writes what became of each test into the file that --outcomes names.

    python3 -m pytest -p tools.pytest_outcomes --outcomes=FILE ...

In JSON: how many `passed`; the ids of those that were `skipped`; `failed`, by id, with all that was said of them; and
`broken`, what is no failure of a test: modules that could not be collected, tests at which pytest's process died.
"""
import json
import pathlib


def pytest_addoption(parser):
    parser.addoption("--outcomes", type=pathlib.Path, help="write the outcomes of all tests there")


def pytest_configure(config):
    path = config.getoption("--outcomes")
    if path and not hasattr(config, "workerinput"):  # what xdist's workers see comes to their master too
        config.pluginmanager.register(Outcomes(path))


def told(report):
    """All that pytest would print of a failure."""
    return "\n".join([report.longreprtext, *(f"--- {title}\n{text}" for title, text in report.sections)])


class Outcomes:
    def __init__(self, path):
        self.path = path
        self.seen, self.skipped, self.failed, self.broken = set(), set(), {}, set()

    def pytest_collectreport(self, report):
        if report.failed:
            self.broken.add(report.nodeid)

    def pytest_runtest_logreport(self, report):
        self.seen.add(report.nodeid)
        if report.failed and report.when not in ("setup", "call", "teardown"):
            self.broken.add(report.nodeid)  # xdist says so of the test at which a worker died
        elif report.failed:
            self.failed.setdefault(report.nodeid, []).append(told(report))
        elif report.skipped:
            self.skipped.add(report.nodeid)

    def pytest_sessionfinish(self):
        failed = {test: "\n".join(texts) for test, texts in self.failed.items() if test not in self.broken}
        skipped = self.skipped - self.broken - failed.keys()
        passed = self.seen - self.broken - failed.keys() - skipped
        self.path.write_text(
            json.dumps(
                {"passed": len(passed), "skipped": sorted(skipped), "failed": failed, "broken": sorted(self.broken)}
            )
        )
