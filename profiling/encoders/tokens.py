"""Texts to token ids with a checkpoint's own fast tokenizer, without importing transformers.

Covers checkpoints with a ``tokenizer.json``. The tokenizer releases the interpreter's lock and uses all cores for a
list of texts, so it can run beside the network.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import EncoderError
from .checkpoint import Checkpoint
from .stamp import EncoderStamp


class Tokens:
    """A checkpoint's tokenizer.

    Args:
        checkpoint: whose tokenizer it is, and whether it wants lower case
        stamp: length to cut to, and the name for messages

    Raises:
        EncoderError: the tokenizer cannot be read.
    """

    def __init__(self, checkpoint: Checkpoint, stamp: EncoderStamp) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(checkpoint.encoder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise unreadable(stamp, checkpoint, error) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(stamp.max_length)
        self._lower = checkpoint.lower

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut to the stamp's length."""
        texts = [text.lower() for text in texts] if self._lower else list(texts)
        if len(texts) == 1:  # spares waking the other cores
            return [self._tokenizer.encode(texts[0]).ids]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]


def unreadable(stamp: EncoderStamp, checkpoint: Checkpoint, error: Exception) -> EncoderError:
    """The error for a file of the checkpoint that cannot be read."""
    return EncoderError(f"encoder {stamp.name!r}: {checkpoint.encoder} cannot be read ({error}); copy it there again")
