"""The audit log's own machinery in PostgreSQL: the chain, and what keeps its rows.

Where an event is made, it gets the chain of its MSP. When its transaction commits, it gets a
number and a hash. Both are done by triggers, so that whoever adds a row, by whatever way, adds a
link. docs/decisions/0012-audit-chain.md says why it is done in two steps at the commit.

The words of a canonical event are those of tenants.services.audit_proof, which computes the same
without asking the database: a test holds them together.
"""

CANONICAL = (
    ("id", "e.id::text"),
    ("chain", "e.chain_id::text"),
    ("tenant", "e.tenant_id::text"),
    ("tenant_name", "e.tenant_name"),
    ("site", "e.site_id::text"),
    ("at", "((extract(epoch FROM e.created_at) * 1000000)::bigint)::text"),
    ("actor", "e.actor_id::text"),
    ("actor_kind", "e.actor_kind"),
    ("actor_name", "e.actor_name"),
    ("token", "e.token_id::text"),
    ("credential", "e.credential"),
    ("ip", "e.ip::text"),
    ("user_agent", "e.user_agent"),
    ("action", "e.action"),
    ("object_kind", "e.object_kind"),
    ("object", "e.object_id::text"),
    ("object_name", "e.object_name"),
    ("before", "e.before::text"),
    ("after", "e.after::text"),
)
"""What is hashed of an event: names, and SQL for their texts. Version 1, for ever: another order
or another column is a version 2, beside this one."""

EVENT_MARK = "basalt-audit-event-1"
LINK_MARK = "basalt-audit-link-1"

# Whoever calls these is in a scope of their own; what they look up is the whole portal's, so two
# of them take the system's scope and give it back. (`SET basalt.scope` in the function's head is
# refused to roles that are no superuser.)
_AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp"

_FIELDS = ",\n        ".join(sql for _, sql in CANONICAL)

UP = f"""
CREATE FUNCTION basalt_audit_digest(e tenants_auditevent) RETURNS bytea
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN sha256(convert_to(json_build_array('{EVENT_MARK}',
        {_FIELDS})::text, 'UTF8'));
END $$;

CREATE UNLOGGED TABLE tenants_auditqueue (
    number bigint GENERATED ALWAYS AS IDENTITY, event_id uuid, chain_id uuid, digest bytea
);

CREATE FUNCTION basalt_audit_chain() RETURNS trigger LANGUAGE plpgsql
    {_AS_OWNER} AS $$
DECLARE
    scope text := coalesce(current_setting('basalt.scope', true), '');
BEGIN
    PERFORM set_config('basalt.scope', 'system', true);
    NEW.chain_id := coalesce(
        (SELECT coalesce(above.parent_id, above.id, own.id) FROM tenants_tenant own
         LEFT JOIN tenants_tenant above ON above.id = own.parent_id WHERE own.id = NEW.tenant_id),
        (SELECT gone.chain_id FROM tenants_deletedtenant gone WHERE gone.id = NEW.tenant_id),
        '00000000-0000-0000-0000-000000000000');
    PERFORM set_config('basalt.scope', scope, true);
    RETURN NEW;
END $$;

CREATE FUNCTION basalt_audit_queue() RETURNS trigger LANGUAGE plpgsql {_AS_OWNER} AS $$
BEGIN
    INSERT INTO tenants_auditqueue (event_id, chain_id, digest)
    VALUES (NEW.id, NEW.chain_id, basalt_audit_digest(NEW));
    RETURN NULL;
END $$;

CREATE FUNCTION basalt_audit_link() RETURNS trigger LANGUAGE plpgsql
    {_AS_OWNER} AS $$
DECLARE
    scope text := coalesce(current_setting('basalt.scope', true), '');
    waiting record;
    held uuid;
    place bigint;
    head bytea;
BEGIN
    PERFORM set_config('basalt.scope', 'system', true);
    -- All of this transaction's at once, in the chains' order, so that two never wait for each
    -- other. Others' rows are never seen: they are gone when their transaction commits.
    FOR waiting IN
        WITH taken AS (DELETE FROM tenants_auditqueue RETURNING number, event_id, chain_id, digest)
        SELECT * FROM taken ORDER BY chain_id, number
    LOOP
        IF held IS DISTINCT FROM waiting.chain_id THEN
            held := waiting.chain_id;
            PERFORM pg_advisory_xact_lock(hashtextextended('basalt-audit ' || held, 0));
            SELECT link.seq, link.hash INTO place, head FROM tenants_auditlink link
            WHERE link.chain_id = held ORDER BY link.seq DESC LIMIT 1;
            IF NOT FOUND THEN
                place := 0;
                head := decode(repeat('00', 32), 'hex');
            END IF;
        END IF;
        place := place + 1;
        head := sha256(convert_to('{LINK_MARK},' || held || ',' || place || ',', 'UTF8')
            || head || waiting.digest);
        INSERT INTO tenants_auditlink (event_id, chain_id, seq, hash)
        VALUES (waiting.event_id, held, place, head);
    END LOOP;
    PERFORM set_config('basalt.scope', scope, true);
    RETURN NULL;
END $$;

CREATE FUNCTION basalt_audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (TG_OP = 'DELETE' AND current_setting('basalt.audit_door', true) = 'prune')
        OR (TG_OP = 'TRUNCATE' AND current_setting('basalt.audit_door', true) = 'flush')
    THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'The audit log is kept: % of % is refused.', lower(TG_OP), TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
        HINT = 'manage.py audit prune archives old events.';
END $$;

CREATE TRIGGER basalt_chain BEFORE INSERT ON tenants_auditevent
    FOR EACH ROW EXECUTE FUNCTION basalt_audit_chain();
CREATE CONSTRAINT TRIGGER basalt_queue AFTER INSERT ON tenants_auditevent
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION basalt_audit_queue();
CREATE CONSTRAINT TRIGGER basalt_link AFTER INSERT ON tenants_auditqueue
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION basalt_audit_link();
"""  # noqa: S608 - all of it is this file's own

DOWN = """
DROP TRIGGER basalt_link ON tenants_auditqueue;
DROP TRIGGER basalt_queue ON tenants_auditevent;
DROP TRIGGER basalt_chain ON tenants_auditevent;
DROP FUNCTION basalt_audit_keep();
DROP FUNCTION basalt_audit_link();
DROP FUNCTION basalt_audit_queue();
DROP FUNCTION basalt_audit_chain();
DROP TABLE tenants_auditqueue;
DROP FUNCTION basalt_audit_digest(tenants_auditevent);
"""

KEPT = ("tenants_auditevent", "tenants_auditlink", "tenants_auditcheckpoint")

KEEP = "".join(
    f"CREATE TRIGGER basalt_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION basalt_audit_keep();\n"
    for table in KEPT
)
KEEP_NOT = "".join(f"DROP TRIGGER basalt_keep ON {table};\n" for table in KEPT)

# Events from before there was a chain: they get their MSP, and places in the order of their time.
BACKFILL = """
UPDATE tenants_auditevent e SET
    chain_id = coalesce(above.parent_id, above.id, own.id),
    tenant_name = own.name,
    actor_kind = CASE WHEN e.token_id IS NOT NULL THEN 'token'
        WHEN e.actor_id IS NOT NULL THEN 'person' ELSE 'system' END
FROM tenants_tenant own LEFT JOIN tenants_tenant above ON above.id = own.parent_id
WHERE own.id = e.tenant_id;
INSERT INTO tenants_auditqueue (event_id, chain_id, digest)
    SELECT e.id, e.chain_id, basalt_audit_digest(e) FROM tenants_auditevent e
    ORDER BY e.created_at, e.id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""
