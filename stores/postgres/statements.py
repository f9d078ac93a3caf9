"""SQL that only Postgres understands."""

from __future__ import annotations

_APPEND = """
WITH batch AS (
    SELECT * FROM unnest(
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::bytea[], %s::boolean[], %s::boolean[], %s::text[], %s::text[]
    ) AS b (
        number, epoch, expected, records, modified_ns, info, closed, needs_worker,
        demands, demand_key
    )
){letters}, fence AS (
    UPDATE session AS s SET
        head_seq = s.head_seq + b.records,
        modified_ns = CASE WHEN b.records > 0 OR s.info IS NULL
            THEN b.modified_ns ELSE s.modified_ns END,
        change = nextval('change_number'),
        info = coalesce(b.info, s.info),
        closed = CASE WHEN b.info IS NULL THEN s.closed ELSE b.closed END,
        needs_worker = CASE WHEN b.info IS NULL THEN s.needs_worker ELSE b.needs_worker END,
        demands = CASE WHEN b.info IS NULL THEN s.demands ELSE b.demands::text[] END,
        demand_key = CASE WHEN b.info IS NULL THEN s.demand_key ELSE b.demand_key END
    FROM batch AS b
    WHERE s.number = b.number AND s.epoch = b.epoch AND s.owner = %s
        AND s.head_seq = b.expected - 1 AND (s.info IS NOT NULL OR b.info IS NOT NULL)
        {all_ours}
    RETURNING s.number
), events AS (
    INSERT INTO event (session, seq, type, run_id, body)
    SELECT e.session, e.seq, e.type, e.run_id, e.body
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bytea[])
        AS e (session, seq, type, run_id, body)
    JOIN fence ON fence.number = e.session
), runs AS (
    INSERT INTO run AS r (session, run_id, submitted_seq, ended_seq, idempotency_key)
    SELECT n.session, n.run_id, n.submitted_seq, n.ended_seq, n.idempotency_key
    FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::text[])
        AS n (session, run_id, submitted_seq, ended_seq, idempotency_key)
    JOIN fence ON fence.number = n.session
    ON CONFLICT (session, run_id) DO UPDATE SET
        ended_seq = excluded.ended_seq,
        submitted_seq = CASE WHEN excluded.submitted_seq > 0
            THEN excluded.submitted_seq ELSE r.submitted_seq END,
        idempotency_key = CASE WHEN excluded.submitted_seq > 0
            THEN excluded.idempotency_key ELSE r.idempotency_key END
){answers}
SELECT number{mailed} FROM fence
"""
# As bytes: the driver looks a statement up by its hash, which bytes keep.
APPEND = _APPEND.format(letters="", all_ours="", answers="", mailed="").encode()
"""Many appends, one per session: each as a whole, if its epoch holds and its head is where it says,
or not at all. Gives the numbers of those that were."""

APPEND_ANSWERING = _APPEND.format(
    letters=""", given AS (
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bytea[]) AS g (session, id, answer)
), ours AS MATERIALIZED (
    SELECT c.id FROM command AS c JOIN given ON given.id = c.id
    WHERE c.taken_by = %s AND c.answer IS NULL FOR UPDATE OF c
)""",
    all_ours="""AND NOT EXISTS (
            SELECT FROM given AS g WHERE g.session = s.number AND g.id NOT IN (SELECT id FROM ours)
        )""",
    answers=""", answers AS (
    UPDATE command AS c SET answer = g.answer, answered_at = clock_timestamp()
    FROM given AS g JOIN fence ON fence.number = g.session WHERE c.id = g.id
    RETURNING c.sender
), mailed AS (
    SELECT pg_notify(%s || s.sender, 'answer') FROM (SELECT DISTINCT sender FROM answers) AS s
)""",
    mailed=", (SELECT count(*) FROM mailed)",
).encode()
"""The same, where some appends answer commands: one whose commands are not all this node's, and
without an answer, is kept out. Their rows are locked first, so that nobody else takes them on."""
OURS = (
    "SELECT count(*) FROM (SELECT FROM command WHERE id = ANY(%s::text[]) AND taken_by = %s "
    "AND answer IS NULL FOR UPDATE) AS ours"
)

HOLD = (
    "SELECT head_seq, oldest_seq, info IS NOT NULL FROM session "
    "WHERE number = %s AND epoch = %s AND owner = %s FOR UPDATE"
)
"""The row of a session that is ours, kept until the transaction ends."""
LOOK = "SELECT head_seq, epoch, owner, info IS NOT NULL FROM session WHERE number = %s FOR UPDATE"
TRIM = "UPDATE session SET oldest_seq = %s WHERE number = %s"
BURY = (
    "UPDATE session SET info = NULL, closed = false, needs_worker = false, demands = '{}', "
    "demand_key = '', owner = NULL, oldest_seq = head_seq + 1 WHERE number = %s"
)
DISOWN = "UPDATE session SET owner = NULL WHERE number = %s AND epoch = %s AND owner = %s"
NOTIFY = "SELECT pg_notify(%s, %s)"

LIVE = "EXISTS (SELECT FROM node WHERE node.number = {owner} AND lease_until > clock_timestamp())"

CLAIM = f"""
WITH beat AS (
    UPDATE node SET lease_until = clock_timestamp() + make_interval(secs => %s) WHERE number = %s
)
INSERT INTO session AS s
    (id, head_seq, oldest_seq, modified_ns, change, closed, needs_worker, epoch, owner)
VALUES (%s, 0, 1, 0, 0, false, false, 1, %s)
ON CONFLICT (id) DO UPDATE SET epoch = s.epoch + 1, owner = excluded.owner
WHERE s.owner IS NULL OR s.owner = excluded.owner OR NOT {LIVE.format(owner="s.owner")}
RETURNING number, id, head_seq, oldest_seq, modified_ns, closed, info, epoch
"""
HOLDER = (
    "SELECT node.number, node.owner FROM session JOIN node ON node.number = session.owner "
    "WHERE session.id = %s AND lease_until > clock_timestamp()"
)
HOLDER_OF = (
    "SELECT node.number::text, node.owner, session.epoch, "
    "extract(epoch from lease_until - clock_timestamp())::float8 "
    "FROM session JOIN node ON node.number = session.owner WHERE session.id = %s"
)
"""The same, live or not, for people."""
JOIN = (
    "INSERT INTO node (owner, lease_until) "
    "VALUES (%s, clock_timestamp() + make_interval(secs => %s)) RETURNING number"
)
BEAT = (
    "UPDATE node SET lease_until = clock_timestamp() + make_interval(secs => %s) "
    "WHERE number = %s RETURNING number"
)
HELD = "SELECT number, epoch FROM session WHERE owner = %s AND number = ANY(%s::bigint[])"
LEAVE = """
WITH freed AS (
    UPDATE session SET owner = NULL WHERE owner = %(node)s RETURNING needs_worker
), gone AS (
    DELETE FROM node WHERE number = %(node)s
)
SELECT pg_notify(%(channel)s, 'unheld') WHERE EXISTS (SELECT FROM freed WHERE needs_worker)
"""
FORGET_NODES = (
    "DELETE FROM node WHERE lease_until < clock_timestamp() - interval '1 day' "
    "AND NOT EXISTS (SELECT FROM session WHERE session.owner = node.number)"
)

SEND = (
    "INSERT INTO command (id, session_id, kind, body, sender, demands) "
    "VALUES (%s, %s, %s, %b, %s, %s) ON CONFLICT (id) DO NOTHING"
)
HERE = """(
    EXISTS (
        SELECT FROM node AS n WHERE n.number = %(node)s AND NOT n.draining
            AND ({silent} {demands} <@ n.offer)
    ) OR NOT EXISTS (
        SELECT FROM node AS n WHERE n.number <> %(node)s AND NOT n.draining
            AND n.lease_until > clock_timestamp() AND {demands} <@ n.offer
    )
)"""
"""Whether the node is to take what has these demands and nobody has: it can, or no other can. With
``silent``, one that has announced nothing can: what is given to it, but not what others sent."""
ROUTE = f"""
SELECT holder.number, {HERE.format(demands="wanted.demands", silent="n.offer IS NULL OR")}
FROM (SELECT %(session_id)s::text AS session_id, %(demands)s::text[] AS demands) AS asked
LEFT JOIN session ON session.id = asked.session_id
LEFT JOIN node AS holder
    ON holder.number = session.owner AND holder.lease_until > clock_timestamp()
CROSS JOIN LATERAL (
    SELECT asked.demands || coalesce(session.demands, '{{}}') AS demands
) AS wanted
"""
"""The live node that has the session, and whether we are to take it if there is none."""
TAKE = f"""
UPDATE command SET taken_by = %(node)s, deliveries = deliveries + 1 WHERE id IN (
    SELECT c.id FROM command AS c LEFT JOIN session AS s ON s.id = c.session_id
    WHERE c.answer IS NULL AND NOT c.id = ANY(%(under_way)s::text[])
        AND (
            c.taken_by IS NULL OR c.taken_by = %(node)s
            OR (c.taken_by <> %(node)s AND NOT {LIVE.format(owner="c.taken_by")})
        )
        AND (
            s.owner = %(node)s OR (
                (s.owner IS NULL OR NOT {LIVE.format(owner="s.owner")})
                AND {HERE.format(demands="(c.demands || coalesce(s.demands, '{}'))", silent="")}
            )
        )
    ORDER BY c.place LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED
) RETURNING id, place, session_id, kind, body, sender, deliveries
"""
"""Commands for sessions that are ours, or nobody's and ours to take, which nobody alive has taken;
also those that we took without having learnt of it. One that we are giving back is not ours to take
until that is over: it would count as delivered once more."""
GIVE_BACK = "UPDATE command SET taken_by = NULL WHERE id = %s AND taken_by = %s AND answer IS NULL"
ANSWER = (
    "UPDATE command SET answer = %b, answered_at = clock_timestamp() "
    "WHERE id = %s AND taken_by = %s AND answer IS NULL RETURNING sender"
)
ANSWERS = "SELECT id, answer FROM command WHERE id = ANY(%s::text[]) AND answer IS NOT NULL"
COLLECTED = "DELETE FROM command WHERE id = ANY(%s::text[]) AND answer IS NOT NULL"
FORGET_ANSWERS = (
    "DELETE FROM command WHERE answer IS NOT NULL "
    "AND answered_at < clock_timestamp() - interval '1 hour'"
)
_STATE = "offer, sessions_max, runs_max, sessions_busy, runs_running, draining"
"""The columns of a NodeState, in its order."""
NODES = (
    "SELECT node.number, node.owner, extract(epoch from opened_at)::float8, "
    "extract(epoch from lease_until - clock_timestamp())::float8, count(session.number), "
    f"{_STATE} FROM node LEFT JOIN session ON session.owner = node.number "
    "GROUP BY node.number ORDER BY node.number"
)
ANNOUNCE = """
UPDATE node SET lease_until = greatest(
        lease_until, clock_timestamp() + make_interval(secs => %(lease)s)
    ), offer = %(offer)s, sessions_max = %(sessions_max)s, runs_max = %(runs_max)s,
    sessions_busy = %(sessions_busy)s, runs_running = %(runs_running)s, draining = %(draining)s
WHERE number = %(node)s
"""
LIVE_NODES = (
    f"SELECT number, {_STATE} FROM node "
    "WHERE lease_until > clock_timestamp() AND offer IS NOT NULL ORDER BY number"
)
_WAITING = f"""
WITH RECURSIVE key AS (
    (SELECT min(demand_key) AS demand_key FROM session WHERE needs_worker)
    UNION ALL
    SELECT (
        SELECT min(s.demand_key) FROM session AS s
        WHERE s.needs_worker AND s.demand_key > key.demand_key
    ) FROM key WHERE key.demand_key IS NOT NULL
), kind AS (
    SELECT key.demand_key, (
        SELECT s.demands FROM session AS s
        WHERE s.needs_worker AND s.demand_key = key.demand_key LIMIT 1
    ) AS demands FROM key WHERE key.demand_key IS NOT NULL
), holder AS (
    (SELECT min(owner) AS owner FROM session WHERE owner IS NOT NULL)
    UNION ALL
    SELECT (SELECT min(s.owner) FROM session AS s WHERE s.owner > holder.owner)
    FROM holder WHERE holder.owner IS NOT NULL
)
SELECT waiting.id, waiting.demands FROM kind CROSS JOIN LATERAL (
    (
        SELECT id, demands, change FROM session
        WHERE needs_worker AND info IS NOT NULL AND demand_key = kind.demand_key
            AND owner IS NULL
        ORDER BY change LIMIT %(limit)s
    ) UNION ALL (
        SELECT id, demands, change FROM session
        WHERE needs_worker AND info IS NOT NULL AND demand_key = kind.demand_key
            AND owner = ANY(ARRAY(
                SELECT holder.owner FROM holder
                WHERE holder.owner IS NOT NULL AND NOT {LIVE.format(owner="holder.owner")}
            ))
        ORDER BY change LIMIT %(limit)s
    )
) AS waiting
WHERE {{which}} ORDER BY waiting.change LIMIT %(limit)s
"""
"""Sessions that need a worker and that no live node has, of those kinds of demands. It steps from
kind to kind and from holder to holder, so that it costs what waits for us, and neither the sessions
that others work on nor those that we cannot serve."""
UNHELD = _WAITING.format(which="(%(offer)s::text[] IS NULL OR kind.demands <@ %(offer)s)")
UNSERVED = _WAITING.format(
    which="NOT EXISTS (SELECT FROM node AS n WHERE NOT n.draining "
    "AND n.lease_until > clock_timestamp() AND kind.demands <@ n.offer)"
)

EVENTS_BOUNDED = (
    "SELECT seq, body FROM (SELECT seq, body, "
    "sum(octet_length(body)) OVER (ORDER BY seq {order}) - octet_length(body) "
    "- lag(octet_length(body), 1, 0) OVER (ORDER BY seq {order}) AS size_before "
    "FROM ({inner}) AS found) AS measured WHERE size_before < {bytes_max} ORDER BY seq {order}"
)
"""Of the rows that ``inner`` gives only so many that the reader can tell that there are more."""
