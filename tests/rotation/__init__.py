"""The model of rotation: the judgement rule by rule, all interleavings of a small world, and long
random lives of the real services against a reference model."""
