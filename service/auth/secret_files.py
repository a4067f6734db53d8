"""Secrets that lie in files, as Docker and Kubernetes mount them: USERIP_ADMIN_KEY_FILE=/run/secrets/admin_key.

So they stand neither in the environment, which debuggers and crash reports show, nor on the command line, which
everybody on the machine can read. (API keys have `keys_file`, whose lines are hashes and are read again.)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from userip.service.errors import StartError

SECRETS: Final = ("bank_url", "admin_key")  # the settings that may be given so


def secrets_from_files(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The secrets whose variable ends in _FILE, by setting.

    Raises StartError, naming the variable, for a file that cannot be read or is blank, and for a secret given twice.
    """
    found = {}
    for name in SECRETS:
        variable = file_variable(name, prefix)
        file = environment.get(variable, "")
        if not file:
            continue
        if environment.get(prefix + name.upper()):
            raise StartError(f"{variable} and {prefix}{name.upper()} are both set; remove one")
        try:
            found[name] = Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise StartError(f"{variable}: {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise StartError(f"{variable}: {file}: not UTF-8") from None
        if not found[name].strip():
            raise StartError(f"{variable}: {file}: empty")
    return found


def file_variable(name: str, prefix: str) -> str:
    """The variable that names the file of a setting."""
    return f"{prefix}{name.upper()}_FILE"
