"""Posts the steps of events to addresses that the operator has named: signed, in order, at least once.

Each webhook has a thread and a cursor into the event log of its own: one that hangs delays no other, and
what happens while the service or a target is down is sent later. What a target does not take is put aside
as a dead letter, which can be queued again.

``records`` are the words, ``store`` remembers cursors and dead letters, ``post`` makes one request,
``worker`` is the thread of one webhook, ``sender`` starts and stops them all.

A receiver checks ``X-Video-Events-Signature: t=<Unix seconds>,v1=<hex>``, whose second part is the
HMAC-SHA256 of ``<t>.<body>`` under the shared secret, and tells repetitions by ``X-Video-Events-Delivery``.
"""
