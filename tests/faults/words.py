"""Values of settings that are wrong or hold a command: make refuses them with a sentence, and no shell runs them."""

from pathlib import Path

from tests.faults.sandbox import Row, Sandbox

# What a shell would run, written for make's command line. In the environment `$` stands for itself.
COMMANDS = ("`touch crater`", "$$(touch crater)", "1; touch crater", "1' ; touch crater '", '1" ; touch crater "')
SETTINGS = ("SCALE", "REPEATS", "DIRECTIONS", "LEVELS", "THREADS", "MEMORY", "DATA_DIR", "QUALITY", "STYLE", "TORCH")
NUMBERS = ("REPEATS", "DIRECTIONS", "LEVELS", "THREADS", "MEMORY")
NO_NUMBERS = ("0", "-1", "2.5", "1e3", "0x10", "1 2", "007", "١", "1" + "0" * 20)


def commands(folder: Path) -> Row:
    """Give every setting, and the target, the text of a command, on the command line and in the environment."""
    sandbox, lost, times = Sandbox(folder / "commands"), [], 0
    crater = sandbox.folder / "crater"
    for text in COMMANDS:
        for name in SETTINGS:
            target = "test-torch" if name == "TORCH" else "swiss_data_x5"
            plain = {name: text.replace("$$", "$")}
            given = sandbox.make(target, f"{name}={text}"), sandbox.make(target, **plain)
            times += 2
            refused = all(done.refused("Expected", name) for done in given)
            if not refused or crater.exists():
                lost.append(f"{name}={text}")
                crater.unlink(missing_ok=True)
        times += 1
        if not sandbox.make(text).refused("No target or file") or crater.exists():
            lost.append(text)
            crater.unlink(missing_ok=True)
    return Row("words", "settings and targets that hold a command", times, len(lost), "; ".join(lost[:3]))


def numbers(folder: Path) -> Row:
    """Give every whole number a value that is none, or that no machine could bear."""
    sandbox = Sandbox(folder / "numbers")
    lost = [
        f"{name}={text}"
        for name in NUMBERS
        for text in NO_NUMBERS
        if not sandbox.make("help", f"{name}={text}").refused(f"Expected {name} to be")
    ]
    return Row(
        "words", "numbers that are none or too large", len(NUMBERS) * len(NO_NUMBERS), len(lost), "; ".join(lost)
    )


def folders(folder: Path) -> Row:
    """Use folders with spaces and signs for data, a scale with spaces, `~`, and the Makefile of another folder."""
    sandbox, lost, names = Sandbox(folder / "a folder"), [], ("a b", "a[b]", "a*", "it's", "ü")
    for name in names:
        (sandbox.folder / name).mkdir()
        if sandbox.make("-n", "swiss_data_x5", DATA_DIR=str(sandbox.folder / name)).code:
            lost.append(name)
    home = sandbox.folder / "home"
    (home / "x").mkdir(parents=True)
    done = sandbox.make("swiss_data_x5", "DATA_DIR=~/x", HOME=str(home), THREADS="1", DIRECTIONS="5")
    if done.code or (sandbox.folder / "~").exists():
        lost.append(f"~: {done.text[-200:]}")
    if sandbox.make("-n", "swiss_data_x5", "SCALE=quick ").code or [
        p.name for p in (sandbox.folder / "results").iterdir()
    ] != ["quick"]:
        lost.append("SCALE with a space")
    if not sandbox.make("-C", str(home), "-f", str(sandbox.folder / "Makefile")).refused("run make -C"):
        lost.append("-f")
    return Row(
        "words", "folders with spaces and signs, ~, SCALE with a space, -f", len(names) + 3, len(lost), "; ".join(lost)
    )
