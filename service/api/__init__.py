"""HTTP and WebSocket: one noun a file, each an ``APIRouter``; ``app`` joins them.

``schemas`` is what goes over the wire, ``problems`` what is said when something is wrong (RFC 9457),
``auth`` who may do what, ``guard`` what every request passes through, ``state`` what routes work with.
"""
