"""Statements that Django writes once, and that are then only bound and run.

Building and compiling a queryset costs several times what the database takes to answer
it. On the path of a request to verify a code each queryset is therefore compiled at its
first use; later calls bind values to its SQL. What a statement asks is still said as a
queryset, with a ``Param`` in place of each value, and its rows are the usual models.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from django.db import connection, models
from django.db.models.sql import InsertQuery, UpdateQuery

M = TypeVar("M", bound=models.Model)


# Their values reach the driver as they are; the preparing of the others (times, JSON,
# addresses) depends on the database.
_PLAIN = (
    models.BooleanField,
    models.CharField,
    models.ForeignKey,
    models.IntegerField,
    models.TextField,
)


class Param(models.Expression):
    """A value that is given at each call, under *name*, prepared as *field* would."""

    def __init__(self, name: str, field: "models.Field[Any, Any]") -> None:
        super().__init__(output_field=field)
        self.name = name
        self.source = field
        self.is_plain = isinstance(field, _PLAIN)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [self]


def param(name: str, model: type[models.Model], field: str = "") -> Param:
    """Return the parameter *name* of the type of *model*'s field, by default that name."""
    found: models.Field[Any, Any] = model._meta.get_field(field or name)  # type: ignore[assignment]
    return Param(name, found)


class Select(Generic[M]):
    """A prepared query for the rows of a queryset, with its annotations as attributes."""

    def __init__(self, build: Callable[[], "models.QuerySet[M]"]) -> None:
        self._build = build
        self._sql = ""

    def rows(self, **values: Any) -> list[M]:
        if not self._sql:
            self._compile()
        with connection.cursor() as cursor:
            cursor.execute(self._sql, _bind(self._params, values))
            found: Any = cursor.fetchall()
        if self._converters:
            found = self._compiler.apply_converters(found, self._converters)
        return [self._model(row) for row in found]

    def row(self, **values: Any) -> M | None:
        """Return the first row, if there is one."""
        return next(iter(self.rows(**values)), None)

    def _compile(self) -> None:
        query = self._build().query
        compiler = query.get_compiler(connection=connection)
        sql, self._params = compiler.as_sql()
        info = compiler.klass_info
        columns = [column[0] for column in compiler.select]
        self._compiler = compiler
        self._converters = compiler.get_converters(columns)
        self._class = info["model"]
        self._start, self._end = info["select_fields"][0], info["select_fields"][-1] + 1
        self._names = [c.target.attname for c in columns[self._start : self._end]]
        self._annotations = compiler.annotation_col_map.items()
        # Last: other threads take it as the sign that all is there.
        self._sql = sql

    def _model(self, row: Sequence[Any]) -> M:
        made: M = self._class.from_db("default", self._names, row[self._start : self._end])
        for name, column in self._annotations:
            setattr(made, name, row[column])
        return made


class Update:
    """A prepared ``UPDATE`` of a queryset's rows."""

    def __init__(self, build: Callable[[], "models.QuerySet[Any]"], **changes: Any) -> None:
        self._build = build
        self._changes = changes
        self._sql = ""

    def run(self, **values: Any) -> int:
        """Run it, and return how many rows it changed."""
        if not self._sql:
            query: Any = self._build().query.chain(UpdateQuery)
            query.add_update_values(self._changes)
            sql, self._params = query.get_compiler(connection=connection).as_sql()
            self._sql = sql
        with connection.cursor() as cursor:
            cursor.execute(self._sql, _bind(self._params, values))
            changed: int = cursor.rowcount
        return changed


class Insert(Generic[M]):
    """A prepared ``INSERT`` of one row, all columns but the key given.

    :param or_else: what to do if such a row exists (``ON CONFLICT ...``).
    :param returning: the columns, beside the key, that the row is given as they are stored.
    """

    def __init__(self, model: type[M], *, or_else: str = "", returning: Sequence[str] = ()) -> None:
        self._model = model
        self._or_else = or_else
        self._returning = [model._meta.pk.attname, *returning]
        self._sql = ""

    def run(self, row: M) -> None:
        """Insert *row*; set its key and the other returned columns on it."""
        if not self._sql:
            self._compile()
        values = {param.name: getattr(row, param.name) for param in self._params}
        with connection.cursor() as cursor:
            cursor.execute(self._sql, _bind(self._params, values))
            stored = cursor.fetchone()
        for name, value in zip(self._returning, stored, strict=True):
            setattr(row, name, value)
        row._state.adding = False
        row._state.db = "default"

    def _compile(self) -> None:
        fields = [f for f in self._model._meta.concrete_fields if not f.primary_key]
        blank = self._model(**{f.attname: Param(f.attname, f) for f in fields})
        query = InsertQuery(self._model)
        query.insert_values(fields, [blank])
        compiler = query.get_compiler(connection=connection)
        compiler.returning_fields = [self._model._meta.get_field(n) for n in self._returning]
        ((sql, self._params),) = compiler.as_sql()
        self._sql = sql.replace(" RETURNING ", f" {self._or_else} RETURNING ")


def _bind(params: Sequence[Any], values: dict[str, Any]) -> list[Any]:
    return [_prepare(p, values[p.name]) if isinstance(p, Param) else p for p in params]


def _prepare(param: Param, value: Any) -> Any:
    return value if param.is_plain else param.source.get_db_prep_save(value, connection)
