"""Streams deliver builds to their subscribers; the store is read once, however many subscribers."""

from app.builds.streams.build import LogPiece, Position
from app.builds.streams.stream import Change, StreamSignal
from app.builds.streams.streams import BuildStreams

__all__ = ["BuildStreams", "Change", "LogPiece", "Position", "StreamSignal"]
