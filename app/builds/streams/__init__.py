"""Following builds: what is followed is read once, however many follow it."""

from app.builds.streams.build import LogPiece, Position
from app.builds.streams.stream import Change, Sign
from app.builds.streams.streams import Feeds

__all__ = ["Change", "Feeds", "LogPiece", "Position", "Sign"]
