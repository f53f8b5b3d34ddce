"""Statements that Django compiles once. Later calls only bind values and run them.

Building and compiling a queryset takes several times as long as the database takes to answer it.
So the querysets of frequent calls are compiled at their first use.
Each statement is still written as a queryset, with a ``Param`` in place of each value, and returns
ordinary models. ``operation`` decides when it is sent, and with which others.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState
from django.db.models.sql import DeleteQuery, InsertQuery, UpdateQuery

from optin.database.operation import Bound, run, run_later

M = TypeVar("M", bound=models.Model)

# Values of these fields go to the driver unchanged. Others (JSON, addresses) are prepared as the
# database needs. Times are prepared on SQLite only.
_PLAIN = (
    models.BooleanField,
    models.CharField,
    models.ForeignKey,
    models.IntegerField,
    models.TextField,
)


class Param(models.Expression):
    """A value that is given at each call, under *name*.

    It is prepared as *field* of *model* would prepare it, by default the field with its name.
    """

    def __init__(self, name: str, model: type[models.Model], field: str = "") -> None:
        source: models.Field[Any, Any] = model._meta.get_field(field or name)  # type: ignore[assignment]
        super().__init__(output_field=source)
        self.name = name
        self.source = source

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [self]


_Given = Mapping[str, Any]


class _Prepared:
    """A statement that Django writes at its first use."""

    _sql = ""

    def bind(self, **given: Any) -> Bound:
        """Return the statement with these values."""
        if not self._sql:
            # Two threads may do this at once. ``_sql`` is last: where it is set, all is.
            sql, params = self._compile()
            self._take = [_taking(one) for one in params]
            self._sql = sql
        return Bound(self._sql, [take(given) for take in self._take], self.result)

    def result(self, found: Any) -> Any:
        """Return what a caller gets of the rows that the database returns."""
        return found

    def _compile(self) -> tuple[str, Sequence[Any]]:
        """Return the SQL, and a ``Param`` or a constant for each of its values."""
        raise NotImplementedError


def _taking(one: Any) -> Callable[[_Given], Any]:
    """Return the function that takes the value of a ``Param`` or a constant from what is given."""
    if not isinstance(one, Param):
        return lambda given: one
    name, field = one.name, one.source
    times = connection.vendor == "postgresql" and isinstance(field, models.DateTimeField)
    if times or isinstance(field, _PLAIN):
        return itemgetter(name)
    return lambda given: field.get_db_prep_save(given[name], connections[DEFAULT_DB_ALIAS])


class Select(_Prepared, Generic[M]):
    """A prepared query for the rows of a queryset, with its annotations as attributes.

    After ``only`` the rows have only these columns. Django reads another one when it is asked for.
    ``select_related`` may name relations of the model itself.
    """

    def __init__(self, build: Callable[[], "models.QuerySet[M]"]) -> None:
        self._build = build

    def rows(self, **values: Any) -> list[M]:
        found: list[M]
        (found,) = run([self.bind(**values)])
        return found

    def row(self, **values: Any) -> M | None:
        """Return the first row, if there is one."""
        return next(iter(self.rows(**values)), None)

    def result(self, found: Any) -> list[M]:
        """Return the rows that the database gave as models."""
        if self._converters:
            found = self._compiler.apply_converters(found, self._converters)
        return [self._model(row) for row in found]

    def _compile(self) -> tuple[str, Sequence[Any]]:
        compiler = self._build().query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        info = compiler.klass_info
        columns = [column[0] for column in compiler.select]
        names = [""] * len(columns)
        for place in info["select_fields"]:
            names[place] = columns[place].target.attname
        for name, place in compiler.annotation_col_map.items():
            names[place] = name
        self._compiler = compiler
        self._converters = compiler.get_converters(columns)
        self._class = info["model"]
        self._names = [name for name in names if name]  # joined columns come after these
        self._joined = [
            (one, [columns[place].target.attname for place in one["select_fields"]])
            for one in info.get("related_klass_infos", ())
        ]
        return sql, params

    def _model(self, row: Sequence[Any]) -> M:
        # Like Model.from_db, without the signals and checks of each field.
        made: M = self._class.__new__(self._class)
        made.__dict__.update(zip(self._names, row, strict=False))
        made._state = ModelState()
        made._state.adding = False
        made._state.db = "default"
        for joined, names in self._joined:
            values = [row[place] for place in joined["select_fields"]]
            is_there = any(value is not None for value in values)
            other = joined["model"].from_db("default", names, values) if is_there else None
            joined["local_setter"](made, other)
        return made


class Update(_Prepared):
    """A prepared ``UPDATE`` of a queryset's rows."""

    def __init__(self, build: Callable[[], "models.QuerySet[Any]"], **changes: Any) -> None:
        self._build = build
        self._changes = changes

    def run_later(self, **values: Any) -> None:
        """Run it with what else the open transaction writes (``operation.run_later``)."""
        run_later(self.bind(**values))

    def run(self, **values: Any) -> bool:
        """Run it now; return whether it changed a row."""
        (changed,) = run([self.bind(**values)])
        return bool(changed)

    def _compile(self) -> tuple[str, Sequence[Any]]:
        query = self._query(self._build().query)
        sql, params = query.get_compiler(connection=connection).as_sql()
        return f"{sql} RETURNING 1", params

    def _query(self, query: Any) -> Any:
        query = query.chain(UpdateQuery)
        query.add_update_values(self._changes)
        return query


class Delete(Update):
    """A prepared ``DELETE`` of a queryset's rows, to which no other row refers."""

    def _query(self, query: Any) -> Any:
        return query.chain(DeleteQuery)


class Insert(_Prepared, Generic[M]):
    """A prepared ``INSERT`` of one row, with all columns except a key that the database generates.

    :param or_else: the ``ON CONFLICT ...`` clause, for a row that exists already.
    :param returning: more columns to read back into the row, besides the key.
    :param computed: what the database puts into columns, in place of the row's own values.
    """

    def __init__(
        self,
        model: type[M],
        *,
        or_else: str = "",
        returning: Sequence[str] = (),
        computed: Mapping[str, Any] = {},
    ) -> None:
        self._model = model
        self._or_else = or_else
        self._computed = dict(computed)
        self._returning = [model._meta.pk.attname, *returning]
        # Fields that make their own value, such as the time at which a row is made.
        fields = model._meta.concrete_fields
        self._makes_values = [f for f in fields if type(f).pre_save is not models.Field.pre_save]

    def run(self, row: M) -> None:
        """Insert *row*; set its key and the other returned columns on it."""
        (rows,) = run([self._bound(row)])
        self._stored(row, rows)

    def run_later(self, row: M, **values: Any) -> None:
        """Insert *row* with ``operation.run_later``. It has its key once the statement is sent.

        :param values: of parameters in what the database computes.
        """
        run_later(self._bound(row, values), partial(self._stored, row))

    def _bound(self, row: M, values: Mapping[str, Any] = {}) -> Bound:
        for field in self._makes_values:
            setattr(row, field.attname, field.pre_save(row, add=True))
        return self.bind(**{**row.__dict__, **values})

    def _stored(self, row: M, rows: Sequence[Any]) -> None:
        for values in rows:  # none of a row that existed already and stays as it is
            for name, value in zip(self._returning, values, strict=True):
                setattr(row, name, value)
        row._state.adding = False
        row._state.db = "default"

    def _compile(self) -> tuple[str, Sequence[Any]]:
        meta = self._model._meta
        fields = [f for f in meta.concrete_fields if not isinstance(f, models.AutoField)]
        given: dict[str, Any] = {f.attname: Param(f.attname, self._model) for f in fields}
        blank = self._model(**(given | self._computed))
        query = InsertQuery(self._model)
        query.insert_values(fields, [blank], raw=True)
        compiler = query.get_compiler(connection=connection)
        compiler.returning_fields = [meta.get_field(n) for n in self._returning]
        ((sql, params),) = compiler.as_sql()
        return sql.replace(" RETURNING ", f" {self._or_else} RETURNING "), params
