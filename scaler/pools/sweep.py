"""Deletion costs that Lagcast wrote, taken off pods that stand on no pool of its own any more.

Who they were written for may be gone, and with it every watch of the pods: they are found by a list, a part at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator
from urllib.parse import quote

from scaler.act.nodepools.objects import over, pages
from scaler.act.nodepools.pointer import pointer
from scaler.kube import JSON_PATCH, METADATA, Json, KubeClient, failure
from scaler.observe.pods import DELETION_COST, MARKED

PAGES = 10  # a step, and
PATCHES = 40


class Sweep:
    """One pass over the pods of some namespaces, as often as it is asked for; it goes on where it was."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._open: tuple[frozenset[str], Iterator[None]] | None = None
        self._keep: Container[str] = ()

    def step(self, namespaces: Collection[str], keep: Container[str]) -> bool:
        """The next part; whether all was seen. ``namespaces`` ("": all) that are others than before begin it anew.
        Raises Forbidden or Unreachable, and begins anew then.
        """
        wanted = frozenset([""] if "" in namespaces else namespaces)
        self._keep = keep  # as it is now, not as it was when the pass began
        if self._open is None or self._open[0] != wanted:
            self._open = (wanted, costs_off(self._client, wanted, lambda uid: uid in self._keep))
        try:
            for spent, _ in enumerate(self._open[1], 1):
                if spent >= PAGES:
                    return False
        except BaseException:
            self._open = None
            raise
        self._open = None
        return True


def costs_off(client: KubeClient, namespaces: Collection[str], keep: Callable[[str], bool]) -> Iterator[None]:
    """Take our deletion costs off all pods of ``namespaces`` ("": of all) but those that ``keep`` names by uid. Yields
    after each page, and after some patches. Raises Forbidden or Unreachable.
    """
    for namespace in sorted(namespaces):
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods" if namespace else "/api/v1/pods"
        for page in pages(client, path, "list pods", accept=METADATA.listed):
            patched = 0
            for item in page:
                if MARKED in (item["metadata"].get("annotations") or {}) and not keep(item["metadata"]["uid"]):
                    take_off(client, item)
                    patched += 1
                    if patched % PATCHES == 0:
                        yield
            yield


def take_off(client: KubeClient, item: Json) -> None:
    """Of one pod: our mark, and the cost beside it unless somebody has written another. One that is gone, or was
    changed at the same moment, is left. Raises Forbidden or Unreachable.
    """
    metadata = item["metadata"]
    annotations = metadata["annotations"]
    names = [MARKED, DELETION_COST] if annotations.get(DELETION_COST) == annotations[MARKED] else [MARKED]
    held = {pointer("metadata", "annotations", name): annotations[name] for name in names}
    patch = over({"/metadata/uid": metadata["uid"]} | held, [{"op": "remove", "path": path} for path in held])
    where = f"/api/v1/namespaces/{quote(metadata['namespace'], safe='')}/pods/{quote(metadata['name'], safe='')}"
    answer = client.call("PATCH", where, body=patch, content_type=JSON_PATCH)
    if answer.code in (404, 409, 422):
        return
    if not answer.ok:
        raise failure(answer, f"take the deletion cost off pod {metadata['namespace']}/{metadata['name']}")
