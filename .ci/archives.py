"""Checks what is in the source archive and the wheel: `archives.py SDIST WHEEL`."""

import sys
import tarfile
import zipfile

# suffixes that must not be, and that must be, in each
RULES = {
    "sdist": ((".c", ".so", ".pyc"), (".pyx", ".pxd", ".yaml", "Makefile", "setup.py", "conftest.py")),
    "wheel": ((".c", ".pyx", ".pxd", ".pyc"), (".so", ".yaml", "hwsim/descriptions/accelerators/h100-sxm.yaml")),
}


def faults(kind: str, names: list[str]) -> list[str]:
    """What is wrong with the files of an archive."""
    unwanted, wanted = RULES[kind]
    found = [f"{kind}: {name} does not belong there" for name in names if name.endswith(unwanted)]
    return found + [f"{kind}: no {suffix}" for suffix in wanted if not any(name.endswith(suffix) for name in names)]


def main() -> None:
    """Print the faults of both archives; exit code 1 if there are any."""
    sdist, wheel = sys.argv[1:]
    with tarfile.open(sdist) as source, zipfile.ZipFile(wheel) as built:
        names = {"sdist": source.getnames(), "wheel": built.namelist()}
    found = [fault for kind in names for fault in faults(kind, names[kind])]
    print("\n".join(found) or ", ".join(f"{kind}: {len(files)} files" for kind, files in names.items()))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
