"""Both faces of the client, called alike, so that one test holds for both."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

# The client itself is imported when it is needed: this is loaded before the tests are.


class Face(ABC):
    """Makes clients of one face, and carries their calls out."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    @abstractmethod
    def client(self, url: str, api_key: Any, **settings: Any) -> Any:
        """A client of this face."""

    @abstractmethod
    def do(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a method gives, at once or awaited."""

    @abstractmethod
    def items(self, pages: Any) -> list[Any]:
        """All of a list."""

    @abstractmethod
    def pages(self, pages: Any) -> list[Any]:
        """The pages of a list."""

    @abstractmethod
    def close(self, client: Any) -> None:
        """Closes a client of this face."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


class Blocking(Face):
    def client(self, url: str, api_key: Any, **settings: Any) -> Any:
        from keyturn import Keyturn

        return self._stack.enter_context(Keyturn(url, api_key=api_key, **settings))

    def do(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    def items(self, pages: Any) -> list[Any]:
        return list(pages)

    def pages(self, pages: Any) -> list[Any]:
        return list(pages.pages())

    def close(self, client: Any) -> None:
        client.close()


class Awaited(Face):
    def __init__(self) -> None:
        super().__init__()
        self._portal: BlockingPortal = self._stack.enter_context(start_blocking_portal())

    def client(self, url: str, api_key: Any, **settings: Any) -> Any:
        from keyturn import AsyncKeyturn

        client = AsyncKeyturn(url, api_key=api_key, **settings)
        self._stack.callback(self.close, client)
        return client

    def do(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        async def call() -> Any:
            return await method(*args, **kwargs)

        return self._portal.call(call)

    def items(self, pages: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [item async for item in pages]

        return self._portal.call(collect)

    def pages(self, pages: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [page async for page in pages.pages()]

        return self._portal.call(collect)

    def close(self, client: Any) -> None:
        self._portal.call(client.aclose)


FACES: dict[str, Callable[[], Face]] = {"blocking": Blocking, "awaited": Awaited}


def attempts(**members: Any) -> Any:
    """A policy of retries that a test can wait for."""
    from keyturn.client import RetryPolicy

    return RetryPolicy(backoff_seconds=0.01, **members)
