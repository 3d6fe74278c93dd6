"""Signatures of webhooks, by the Standard Webhooks specification (standardwebhooks.com). Pure.

webhook-id         names the message, over all its attempts
webhook-timestamp  seconds since 1970, of this attempt
webhook-signature  "v1," and the base64 of HMAC-SHA256 over "id.timestamp.body"; one for each
                   secret that is valid, with a space between
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def write_secret(key: bytes) -> str:
    """The secret as it is shown: its prefix and base64."""
    return PREFIX + base64.b64encode(key).decode()


def sign(secret: str, *, message_id: str, timestamp_s: int, body: bytes) -> str:
    """One signature. The key is what the base64 after the prefix stands for."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(
    secrets: Iterable[str], *, message_id: str, moment: datetime, body: bytes
) -> dict[str, str]:
    """The three headers of an attempt at this moment."""
    timestamp_s = int(moment.timestamp())
    signatures = [
        sign(secret, message_id=message_id, timestamp_s=timestamp_s, body=body)
        for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }
