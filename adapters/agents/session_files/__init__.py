"""Session files of other programs, and conversations as JSON lines."""

from .claude_code import read_claude_code
from .codex import read_codex
from .imported import (
    ImportedConversation,
    conversation_events,
    record_conversation,
)
from .json_lines import SessionFileInvalid
from .message_lines import message_line, read_messages, write_messages
from .pi import read_pi
from .recognising import SessionFormat, load_session_file, read_session_file

__all__ = [
    "read_session_file",
    "load_session_file",
    "SessionFormat",
    "read_claude_code",
    "read_codex",
    "read_pi",
    "ImportedConversation",
    "record_conversation",
    "conversation_events",
    "read_messages",
    "write_messages",
    "message_line",
    "SessionFileInvalid",
]
