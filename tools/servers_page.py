"""docs/servers.md, generated from what the doctor and the contract suite found on every server.

    python -m tools.servers_page measure [SERVER...]   run the doctor on all servers, or on some
    python -m tools.servers_page contract REPORT       take over a report of the contract suite
    python -m tools.servers_page render                write docs/servers.md
    python -m tools.servers_page check                 is the page that of the results?

The results are in docs/servers.json. All servers at their newest: raise the pins in
requirements/servers.txt, install them, then measure,
WSNURSERY_NIGHTLY=1 WSNURSERY_SERVERS_REPORT=report.json python -m pytest tests/servers,
contract report.json, render.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "servers.json"
PAGE = ROOT / "docs" / "servers.md"
TEMPLATE = Path(__file__).with_name("servers_page.md")

Json = dict[str, Any]

CONTRACT = Path(__file__).with_name("servers_contract.md")

MARKS = {"passed": "✓", "limit": "limit", "failed": "FAILED", "skipped": "-"}


def main(arguments: list[str]) -> int:
    """Run a command."""
    results: Json = json.loads(RESULTS.read_text("utf-8"))
    match arguments:
        case ["measure", *names]:
            return save(results | measured(results, names))
        case ["contract", report]:
            return save(results | tested(json.loads(Path(report).read_text("utf-8"))))
        case ["render"]:
            PAGE.write_text(rendered(results), "utf-8")
            return 0
        case ["check"]:
            return check(results)
        case _:
            print(__doc__)
            return 2


def save(results: Json) -> int:
    """Write the results and the page."""
    text = json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True)
    RESULTS.write_text(text + "\n", "utf-8")
    PAGE.write_text(rendered(results), "utf-8")
    return 0


def check(results: Json) -> int:
    """Whether the page is that of the results."""
    if PAGE.read_text("utf-8") == rendered(results):
        return 0
    print("docs/servers.md is not what docs/servers.json gives: run its `render`")
    return 1


# ----------------------------------------------------------------------------- measuring


def measured(results: Json, names: list[str]) -> Json:
    """The doctor's findings on the servers of the tests' table, or on some of them."""
    from tests.servers._rows import SERVERS

    chosen = [SERVERS[name] for name in names] or list(SERVERS.values())
    with ThreadPoolExecutor(2) as pool:
        reports = dict(zip(chosen, pool.map(visit, chosen), strict=True))
    servers: Json = dict(results.get("servers", {}))
    questions: list[Json] = []
    for row, report in reports.items():
        if report is None:
            continue
        suffix = row.name.removeprefix(row.older or row.distribution).strip("-")
        servers[row.name] = {
            "backend": report["backend"],
            "distribution": row.distribution,
            "label": f"{row.distribution} {row.version}" + (f" ({suffix})" if suffix else ""),
            "libraries": report["libraries"],
            "version": row.version,
            "rows": {
                found["name"]: [found["server"], found["wsnursery"], found["verdict"]]
                for found in report["rows"]
            },
        }
        questions = [
            {key: found[key] for key in ("name", "asks", "does")} for found in report["rows"]
        ]
    return {
        "servers": {name: servers[name] for name in SERVERS if name in servers},
        "order": [name for name in SERVERS if name in servers],
        "questions": questions,
        "python": platform.python_version(),
    }


def visit(row: Any) -> Json | None:
    """The doctor's report on a server of the table, if it can be examined."""
    command = shlex.join([sys.executable, *doctors_words(row)])
    path = os.pathsep.join([*row.import_path(), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "wsnursery", "doctor", "--json", command],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode not in (0, 1):
        print(f"{row.name}: not examined by {command}")
        return None
    report: Json = json.loads(done.stdout)
    print(f"{row.name}: {'holds' if report['holds'] else 'BROKEN'}", flush=True)
    return report


def doctors_words(row: Any) -> Iterable[str]:
    """The command of a row, which binds to a descriptor, as one that binds to an address."""
    bind = {"uvicorn": "--host {host} --port {port}", "daphne": "-b {host} -p {port}"}
    text = shlex.join(row.command).replace("'", "")
    text = text.replace("fd://{fd}", "{bind}")
    return shlex.split(text.replace("--fd {fd}", bind.get(row.distribution, "")))


def tested(report: Json) -> Json:
    """The contract suite's outcomes by rule and server: the worst of a rule's tests counts."""
    worst = ["skipped", "passed", "limit", "failed"]
    outcomes: dict[str, dict[str, str]] = {}
    limits: dict[str, Json] = {}
    for result in report["results"]:
        rule, server, outcome = result["rule"], result["server"], result["outcome"]
        servers = outcomes.setdefault(rule, {})
        servers[server] = max(servers.get(server, "skipped"), outcome, key=worst.index)
        if outcome == "limit":
            known: Json = {"rules": [], "servers": [], "upstream": result["upstream"]}
            limit = limits.setdefault(result["reason"], known)
            limit["rules"] = sorted({*limit["rules"], rule})
            if server not in limit["servers"]:
                limit["servers"].append(server)
    return {"contract": outcomes, "limits": limits}


# ----------------------------------------------------------------------------- rendering


def rendered(results: Json) -> str:
    """The page."""
    page = TEMPLATE.read_text("utf-8")
    for name, part in (
        ("SERVERS", table_of_servers(results)),
        ("QUESTIONS", "\n\n".join(section(results, question) for question in results["questions"])),
        ("CONTRACT", contract(results)),
        ("PYTHON", results["python"]),
    ):
        page = page.replace(f"@{name}@", part)
    return page.rstrip() + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(escaped(cell) for cell in line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text for a cell."""
    return text.replace("|", "\\|")


def table_of_servers(results: Json) -> str:
    """Every server with what it is made of, and where it limits us."""
    rows: list[list[str]] = []
    for name in results["order"]:
        server = results["servers"][name]
        found = server["rows"]
        names = [question["name"] for question in results["questions"]]
        limited = [question for question in names if found[question][2] == "limited"]
        broken = [question for question in names if found[question][2] == "broken"]
        verdict = "yes" if not broken else f"NO: {', '.join(broken)}"
        rows.append([server["label"], server["backend"], verdict, ", ".join(limited) or "-"])
    return table(["server", "runs on", "the contract holds", "the server limits it in"], rows)


def section(results: Json, question: Json) -> str:
    """A question and its answers; servers with the same answers stand together."""
    answers: dict[tuple[str, str], list[str]] = {}
    for name in results["order"]:
        server = results["servers"][name]
        raw, ours, verdict = server["rows"][question["name"]]
        mark = {"limited": " (limited by the server)", "broken": " (BROKEN)"}.get(verdict, "")
        answers.setdefault((raw, ours + mark), []).append(name)
    head = [("the server by itself", 0), ("a handler on wsnursery", 1)]
    columns = [(title, index) for title, index in head if any(key[index] for key in answers)]
    rows = [
        [together(results, names), *(key[index] for _, index in columns)]
        for key, names in answers.items()
    ]
    return (
        f"### {question['name'].capitalize()}\n\n{question['asks']}\n\n"
        f"{table(['server', *(title for title, _ in columns)], rows)}\n\n"
        f"wsnursery {question['does']}."
    )


def contract(results: Json) -> str:
    """What the contract suite found, if it has run."""
    if "contract" not in results:
        return ""
    page = CONTRACT.read_text("utf-8").replace("@RULES@", table_of_rules(results))
    return page.replace("@LIMITS@", table_of_limits(results))


def together(results: Json, names: Iterable[str]) -> str:
    """Servers, by program and version: "uvicorn 0.54.0 (sansio, wsproto)"."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        label = results["servers"][name]["label"]
        program, _, kind = label.removesuffix(")").partition(" (")
        kinds.setdefault(program, []).append(kind or "asyncio")
    return ", ".join(f"{program} ({', '.join(kind)})" for program, kind in kinds.items())


def table_of_rules(results: Json) -> str:
    """Rule by server."""
    contract: Json = results.get("contract", {})
    names = [name for name in results["order"] if any(name in row for row in contract.values())]
    rows = [
        [rule, *(MARKS[contract[rule].get(name, "skipped")] for name in names)]
        for rule in sorted(contract)
    ]
    return table(["rule", *names], rows)


def table_of_limits(results: Json) -> str:
    """What the servers make impossible."""
    rows: list[list[str]] = []
    for reason, limit in results["limits"].items():
        servers = together(results, limit["servers"])
        rows.append([servers, reason, limit["upstream"] or "-", ", ".join(limit["rules"])])
    return table(["servers", "what happens", "the cause in the server", "rules"], sorted(rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
