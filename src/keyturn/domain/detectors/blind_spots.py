"""What each detector cannot see: one sentence, shown with each finding and in the guide."""

from collections.abc import Mapping

from keyturn.domain.finding import FindingKind

BLIND_SPOTS: Mapping[FindingKind, str] = {
    FindingKind.NEW_NETWORK: (
        "Whoever calls from a network that the key is used from already, or from the same block of"
        " addresses, is not seen; nor is anybody where the callers' networks change all the time."
    ),
    FindingKind.NEW_COUNTRY: (
        "Whoever calls from a country that the key is used from already is not seen, also through a"
        " relay there; without a table of countries nothing is."
    ),
    FindingKind.NEW_RUNTIME: (
        "A runtime says its own name: whoever copies the name of one that is known is not seen."
    ),
    FindingKind.NEW_PATH: (
        "Whoever is let in and calls what is beside the paths that are called anyway, reading what"
        " is read or writing what is written, is not seen; nor is a path within a day of a release"
        " of a caller that is known, nor of a key to which new ones come without one, nor anything"
        " where no path is told."
    ),
    FindingKind.NEW_SCOPE: (
        "Whoever asks only for scopes that are asked for anyway is not seen, nor one that is let in"
        " within a day of a release of a caller that is known, or of a key to which new ones come"
        " without one."
    ),
    FindingKind.VOLUME: (
        "Whoever takes little at a time, or slowly more and more, stays below what is usual."
    ),
    FindingKind.HOURS: (
        "Whoever calls within two hours of when the key works anyway is not seen, and of a key"
        " without hours of its own nothing is said."
    ),
    FindingKind.DENIED_BURST: (
        "A few refusals an hour stay below what is usual, and those of a key that is being"
        " rotated, or was changed within a day, are not counted."
    ),
    FindingKind.ENUMERATION: (
        "Whoever goes through ids slowly, in no order and is let in is not seen, nor where ids are"
        " not part of the path."
    ),
    FindingKind.SEVERAL_ENVIRONMENTS: (
        "Only what the caller says of its environment is known: who says nothing, or says what is"
        " expected, is not seen."
    ),
    FindingKind.SHARED_KEY: (
        "Two workloads with the same user agent, or under a name that both declare, look like one."
    ),
    FindingKind.BROWSER: (
        "Whoever takes the token out of the page and calls with a program is not seen, nor is a"
        " browser whose headers were not handed on."
    ),
    FindingKind.AFTER_REVOCATION: (
        "That nobody calls does not prove that nobody has it: who knows that it is dead is silent."
    ),
    FindingKind.WOKE: (
        "Whoever calls while the key is at work is not seen, and a job that runs once in a season"
        " looks like a sleeper at first."
    ),
}
