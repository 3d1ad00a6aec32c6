"""Following builds: what is followed is read once, however many follow it."""

from app.builds.feeds.build import LogPiece, Position
from app.builds.feeds.feed import Change, Sign
from app.builds.feeds.feeds import Feeds

__all__ = ["Change", "Feeds", "LogPiece", "Position", "Sign"]
