"""What the next deploy would refuse in configs, told when they are uploaded. The upload itself is the reference's: any map is taken.

Source: manifest contract, sections 13 to 17.
"""

from __future__ import annotations

from collections.abc import Sequence

from director.diagnostics import Diagnostic
from director.errors import ManifestError
from director.manifest import configs, late
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import Document
from director.manifest.parse import check_runtime_configs


def problems(type_: str, documents: Sequence[Document]) -> tuple[Diagnostic, ...]:
    """All that is wrong with the configs of a type as they would be in force together, warnings too; for a type that only others read,
    nothing. What placeholders stand for is not known here: with one where a deploy needs a value nothing is said of the rest."""
    try:
        if type_ in ("cloud", "runtime", "cpi"):
            documents = [late.interpolate_for_director(document, _unknown, type_) for document in documents]
        if type_ == "cloud":
            return parse_cloud_config(documents).warnings
        if type_ == "runtime":
            return check_runtime_configs(documents)
        if type_ == "cpi":
            configs.parse_cpi_config(documents)
        elif type_ == "resurrection":
            return tuple(configs.parse_resurrection_configs(documents)[1])
        elif type_ == "deploy":
            for document in documents:
                configs.deploy_flags(document, "")
            return tuple(item for document in documents for item in configs.unknown_flags(document))
    except ManifestError as error:
        return tuple(item for item in error.diagnostics if item.code != late.NOT_FOUND)
    return ()


def _unknown(name: str) -> object:
    raise KeyError(name)
