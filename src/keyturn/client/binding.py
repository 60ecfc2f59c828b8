"""Operations as methods of a client: the one list of parameters serves both faces.

An operation is a function that makes a `Call` or a `Listing`. These descriptors make of it a method
that sends: with the same parameters, the same documentation, and the result that its face gives.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Generic, ParamSpec, Protocol, Self, TypeVar, overload

from keyturn.client.call import Call, Listing, Page

P = ParamSpec("P")
T = TypeVar("T")

Later = Coroutine[object, object, T]


class Sends(Protocol):
    """A client that blocks."""

    def send(self, call: Call[T]) -> T: ...


class SendsLater(Protocol):
    """A client that is awaited."""

    async def send(self, call: Call[T]) -> T: ...


class Group:
    """The operations on one noun, of a client that blocks."""

    def __init__(self, client: Sends) -> None:
        self.client = client


class AsyncGroup:
    """The operations on one noun, of a client that is awaited."""

    def __init__(self, client: SendsLater) -> None:
        self.client = client


class Pages(Generic[T]):
    """A list of any length: iterate over it, and its pages are asked for one by one. `pages()`
    gives them whole."""

    def __init__(self, client: Sends, listing: Listing[T]) -> None:
        self._client = client
        self._listing = listing

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items

    def pages(self) -> Iterator[Page[T]]:
        following: Call[Page[T]] | None = self._listing.first
        while following is not None:
            page = self._client.send(following)
            yield page
            following = page.following


class AsyncPages(Generic[T]):
    """A list of any length, for `async for`. `pages()` gives its pages whole."""

    def __init__(self, client: SendsLater, listing: Listing[T]) -> None:
        self._client = client
        self._listing = listing

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def pages(self) -> AsyncIterator[Page[T]]:
        following: Call[Page[T]] | None = self._listing.first
        while following is not None:
            page = await self._client.send(following)
            yield page
            following = page.following


class Sent(Generic[P, T]):
    """An operation of a client that blocks: `create = Sent(create_key)`."""

    def __init__(self, operation: Callable[P, Call[T]]) -> None:
        self.operation = operation

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group, owner: type) -> Callable[P, T]: ...
    def __get__(self, group: Group | None, owner: type) -> Self | Callable[P, T]:
        if group is None:
            return self

        @functools.wraps(self.operation)
        def send(*args: P.args, **kwargs: P.kwargs) -> T:
            return group.client.send(self.operation(*args, **kwargs))

        return send


class Listed(Generic[P, T]):
    """A list of a client that blocks: `list = Listed(list_keys)`."""

    def __init__(self, operation: Callable[P, Listing[T]]) -> None:
        self.operation = operation

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group, owner: type) -> Callable[P, Pages[T]]: ...
    def __get__(self, group: Group | None, owner: type) -> Self | Callable[P, Pages[T]]:
        if group is None:
            return self

        @functools.wraps(self.operation)
        def pages(*args: P.args, **kwargs: P.kwargs) -> Pages[T]:
            return Pages(group.client, self.operation(*args, **kwargs))

        return pages


class AsyncSent(Generic[P, T]):
    """An operation of a client that is awaited."""

    def __init__(self, operation: Callable[P, Call[T]]) -> None:
        self.operation = operation

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: AsyncGroup, owner: type) -> Callable[P, Later[T]]: ...
    def __get__(self, group: AsyncGroup | None, owner: type) -> Self | Callable[P, Later[T]]:
        if group is None:
            return self

        @functools.wraps(self.operation)
        async def send(*args: P.args, **kwargs: P.kwargs) -> T:
            return await group.client.send(self.operation(*args, **kwargs))

        return send


class AsyncListed(Generic[P, T]):
    """A list of a client that is awaited."""

    def __init__(self, operation: Callable[P, Listing[T]]) -> None:
        self.operation = operation

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: AsyncGroup, owner: type) -> Callable[P, AsyncPages[T]]: ...
    def __get__(self, group: AsyncGroup | None, owner: type) -> Self | Callable[P, AsyncPages[T]]:
        if group is None:
            return self

        @functools.wraps(self.operation)
        def pages(*args: P.args, **kwargs: P.kwargs) -> AsyncPages[T]:
            return AsyncPages(group.client, self.operation(*args, **kwargs))

        return pages
