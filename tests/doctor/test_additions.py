"""What somebody has added to the tables: what can refuse a write is told and mended, what can't is not."""

from __future__ import annotations

import psycopg
import pytest

from pgsched.doctor.finding import Severity
from pgsched.domain.execution import TaskInstance
from pgsched.store.operation import drive
from pgsched.store.scheduling import cancel
from tests.doctor.patient import NAMES, TABLE, WORKERS, Patient

FAILED = NAMES.quoted("failed_table")

RAISES = (
    'create function "own schema"."it ""raises"""() returns trigger language plpgsql as'
    " $$ begin raise exception 'not today'; end $$"
)
CALLED = 'execute function "own schema"."it ""raises"""()'

KEYS = "(task_name, task_instance)"

ADDITIONS = {
    "Trigger": [
        RAISES,
        f'create trigger "a ""guard""" before update on {TABLE} for each row {CALLED}',
    ],
    "Trigger of the failed": [RAISES, f"create trigger guard after insert on {FAILED} {CALLED}"],
    "Trigger always": [
        RAISES,
        f"create trigger guard before delete on {TABLE} for each row {CALLED}",
        f"alter table {TABLE} enable always trigger guard",
    ],
    "Trigger by constraint": [
        RAISES,
        f"create constraint trigger guard after update on {TABLE} deferrable for each row {CALLED}",
    ],
    "Rule": [f'create rule "a ""rule""" as on delete to {TABLE} do instead nothing'],
    "Foreign key": [
        'create table "own schema".tenants (name text primary key)',
        f'alter table {TABLE} add tenant text references "own schema".tenants',
    ],
    "Foreign key from elsewhere": [
        'create table "Their ""orders""" (a text, b text)',
        f'alter table "Their ""orders""" add constraint "to ""us""" foreign key (a, b) references {TABLE} {KEYS}',
    ],
    "Foreign key from partitions": [
        f"create table orders (a text, b text, foreign key (a, b) references {TABLE} {KEYS}) partition by list (a)",
        "create table some_orders partition of orders for values in ('a')",
    ],
    "Check constraint": [
        f'alter table {TABLE} add constraint "a ""check""" check (version < 5) not valid'
    ],
    "Check constraint of the workers": [f"alter table {WORKERS} add check (pollers < 100)"],
    "Unique constraint": [f"alter table {TABLE} add constraint one_a_time unique (execution_time)"],
    "Exclusion constraint": [f"alter table {TABLE} add exclude (picked_by with =)"],
    "Unique index": [
        f'create unique index "one ""at"" a time" on {TABLE} (task_name) where picked'
    ],
}


@pytest.mark.parametrize("named", ADDITIONS)
def test_what_can_refuse_a_write(patient: Patient, named: str) -> None:
    patient.sql(*ADDITIONS[named])
    finding = patient.finding("additions")
    assert finding.severity is Severity.WARNING
    assert named.startswith(str(finding.facts["kind"]).capitalize())
    assert finding.facts["name"] in finding.title
    patient.mend(finding)
    assert patient.found() == []


def test_one_that_raises_refuses_what_is_told_and_no_more_once_it_is_mended(
    patient: Patient,
) -> None:
    """That it can be disabled, and the fault is gone, is seen by a write of ours."""
    patient.execution("a")
    patient.sql(
        RAISES, f'create trigger "a ""guard""" before delete on {TABLE} for each row {CALLED}'
    )
    with psycopg.connect(patient.conninfo, autocommit=True) as session:
        with pytest.raises(psycopg.errors.RaiseException):
            drive(session, NAMES, cancel(TaskInstance("a", "1")), is_atomic=False)
        patient.mend(patient.finding("additions"))
        drive(session, NAMES, cancel(TaskInstance("a", "1")), is_atomic=False)


def test_what_can_refuse_nothing_is_not_told(patient: Patient) -> None:
    """What replication, audits that are switched off, and a cautious user leave on a table."""
    patient.sql(
        RAISES,
        f"create trigger off before update on {TABLE} for each row {CALLED}",
        f"alter table {TABLE} disable trigger off",
        f"create trigger of_replicas before update on {TABLE} for each row {CALLED}",
        f"alter table {TABLE} enable replica trigger of_replicas",
        f"create trigger of_truncate before truncate on {TABLE} {CALLED}",
        f"create rule off as on update to {TABLE} do also notify somebody",
        f"alter table {TABLE} disable rule off",
        f"create unique index told_apart on {TABLE} (task_instance, task_name, picked)",
        f"create index only_an_index on {TABLE} (version)",
        f"alter table {TABLE} replica identity using index told_apart",
        f"create publication everything for table {TABLE}, {FAILED}",
        'create table "own schema".others (a int primary key, b int references "own schema".others unique)',
        f'create view "own schema".a_view as select task_name from {TABLE}',
    )
    assert patient.found() == []


def test_a_constraint_that_is_not_enforced(patient: Patient) -> None:
    if patient.sql("select current_setting('server_version_num')::int >= 180000") == [(False,)]:
        pytest.skip("before Postgres 18 all are enforced")
    patient.sql(f"alter table {TABLE} add constraint a_remark check (version < 5) not enforced")
    assert patient.found() == []
