from tests.verifier.world import Variant

MUTANTS: tuple[Variant, ...] = ()
