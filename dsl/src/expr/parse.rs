//! SQL text to typed expressions, by a closed list of nodes.

use sqlparser::ast::{self, Spanned, UnaryOperator, Value as SqlValue};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::typed::{Typed, calculate, compare, mistyped, negate, noun, unified};
use super::{BinaryOp, Expr, Quoted, find_column};
use crate::diagnostic::{Diagnostic, code};
use crate::schema::{Cell, Column, ColumnType};
use crate::source::Span;
use crate::suggest;

/// Bytes of an expression.
const MAX_LENGTH: usize = 4_096;
/// Nodes inside one another; chains of `and` and `or` count as one.
const MAX_DEPTH: usize = 64;
/// Brackets inside one another. The SQL parser tries what stands in brackets as several things in turn, so
/// its time doubles with each level: 29 levels of `x or not (` took three minutes.
const MAX_BRACKETS: usize = 12;

/// Reads a condition over rows with these columns.
///
/// # Errors
/// Says what is wrong and where.
pub fn parse_filter(quoted: &Quoted, columns: &[Column]) -> Result<Expr, Diagnostic> {
    let sql = parse_sql(quoted)?;
    Lower { quoted, columns }.lower(&sql, 0)?.condition("`where`")
}

fn refused(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code::EXPRESSION, message).label(span, "")
}

/// The SQL parser's tree of the whole text.
pub fn parse_sql(quoted: &Quoted) -> Result<ast::Expr, Diagnostic> {
    let text = quoted.text();
    if text.len() > MAX_LENGTH {
        return Err(refused(
            quoted.whole(),
            format!("an expression has at most {MAX_LENGTH} bytes, not {}", text.len()),
        ));
    }
    if text.trim().is_empty() {
        return Err(refused(quoted.whole(), "the expression is empty"));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| {
            refused(quoted.at(Some(error.location)), lower_first(&error.message))
                .help("text stands in single quotes: zone = 'box'")
        })?;
    if brackets(&tokens) > MAX_BRACKETS {
        return Err(refused(quoted.whole(), "the expression is nested too deeply")
            .help(format!("at most {MAX_BRACKETS} brackets may stand inside one another")));
    }
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(MAX_DEPTH)
        .with_tokens_with_locations(tokens);
    let sql = parser.parse_expr().map_err(|error| match error {
        ParserError::RecursionLimitExceeded => refused(quoted.whole(), "the expression is nested too deeply"),
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            let (message, place) = message
                .split_once(" at Line: ")
                .map_or((message.as_str(), None), |(text, at)| (text, Some(at)));
            let message = message.replace("found: EOF", "found: its end");
            refused(
                quoted.at(place.and_then(location)),
                format!("this is no expression: {}", lower_first(&message)),
            )
        }
    })?;
    let next = parser.peek_token();
    let here = quoted.part(next.span);
    if next.token == Token::EOF {
        return Ok(sql);
    }
    Err(refused(here, format!("the expression ends before `{}`", next.token)).help("join conditions by `and` or `or`"))
}

/// The most brackets that are open at once.
fn brackets(tokens: &[TokenWithSpan]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for token in tokens {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// The `1, Column: 8` of the parser's messages.
fn location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location {
        line: line.parse().ok()?,
        column: column.trim().parse().ok()?,
    })
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The walk over the SQL tree.
pub struct Lower<'a> {
    pub quoted: &'a Quoted<'a>,
    pub columns: &'a [Column],
}

impl Lower<'_> {
    pub fn span(&self, sql: &ast::Expr) -> Span {
        self.quoted.part(sql.span())
    }

    pub fn lower(&self, sql: &ast::Expr, depth: usize) -> Result<Typed, Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(refused(self.quoted.whole(), "the expression is nested too deeply"));
        }
        let inner = |sql: &ast::Expr| self.lower(sql, depth + 1);
        match sql {
            ast::Expr::Nested(sql) => inner(sql),
            ast::Expr::Identifier(name) => self.column(&name.value, self.quoted.part(name.span)),
            ast::Expr::Value(value) => self.literal(&value.value, self.quoted.part(value.span)),
            ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } => negate(inner(expr)?),
            ast::Expr::UnaryOp { op: UnaryOperator::Plus, expr } => inner(expr),
            ast::Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                let condition = inner(expr)?;
                let span = condition.span;
                Ok(Typed::new(Expr::Not(Box::new(condition.condition("what `not` stands before")?)), ColumnType::Bool, span))
            }
            ast::Expr::BinaryOp { op: op @ (ast::BinaryOperator::And | ast::BinaryOperator::Or), .. } => self.chain(sql, op, depth),
            ast::Expr::BinaryOp { left, op, right } => self.binary(left, op, right, depth),
            ast::Expr::IsNull(expr) => self.is_null(expr, false, depth),
            ast::Expr::IsNotNull(expr) => self.is_null(expr, true, depth),
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated, depth),
            ast::Expr::Between { expr, negated, low, high } => self.between([expr, low, high], *negated, depth),
            ast::Expr::Like { negated, any: false, expr, pattern, escape_char: None } => self.like(expr, pattern, [false, *negated], depth),
            ast::Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => self.like(expr, pattern, [true, *negated], depth),
            ast::Expr::Case { operand: None, conditions, else_result, .. } => self.case(conditions, else_result.as_deref(), depth),
            ast::Expr::Function(call) => {
                let message = format!("`{}` cannot be called here", call.name);
                Err(refused(self.span(sql), message).help("aggregates stand in `select`; there are no other functions"))
            }
            _ => Err(refused(self.span(sql), "the language has no such expression").help(
                "there are: and, or, not, comparisons, + - * /, in (..), between, like, is null, case when, literals and columns",
            )),
        }
    }

    fn column(&self, name: &str, span: Span) -> Result<Typed, Diagnostic> {
        match find_column(self.columns, name) {
            Some((index, ty)) => Ok(Typed::new(Expr::Column(index), ty, span)),
            None => {
                let names = self.columns.iter().map(|column| column.name.as_str());
                Err(
                    Diagnostic::error(code::UNKNOWN_COLUMN, format!("there is no column `{name}`"))
                        .label(span, "unknown")
                        .maybe_help(suggest::help(name, "columns", names)),
                )
            }
        }
    }

    fn literal(&self, value: &SqlValue, span: Span) -> Result<Typed, Diagnostic> {
        Ok(match value {
            SqlValue::Number(digits, false) => match digits.parse::<i64>() {
                Ok(number) => Typed::new(Expr::Literal(Cell::Int(number)), ColumnType::Int, span),
                Err(_) => match digits.parse::<f64>() {
                    Ok(number) if number.is_finite() => {
                        Typed::new(Expr::Literal(Cell::Float(number)), ColumnType::Float, span)
                    }
                    _ => return Err(refused(span, format!("`{digits}` is no number"))),
                },
            },
            SqlValue::SingleQuotedString(text) => {
                Typed::new(Expr::Literal(Cell::Text(text.as_str().into())), ColumnType::Text, span)
            }
            SqlValue::Boolean(flag) => Typed::new(Expr::Literal(Cell::Bool(*flag)), ColumnType::Bool, span),
            SqlValue::Null => Typed {
                expr: Expr::Literal(Cell::Null),
                ty: None,
                span,
            },
            _ => {
                return Err(refused(span, "the language has no such literal")
                    .help("there are numbers, 'text', true, false and null"));
            }
        })
    }

    /// `A and B and ...`, which the parser nests to the left, as one list.
    fn chain(&self, sql: &ast::Expr, op: &ast::BinaryOperator, depth: usize) -> Result<Typed, Diagnostic> {
        let mut parts = Vec::new();
        let mut rest = sql;
        while let ast::Expr::BinaryOp { left, op: same, right } = rest {
            if same != op {
                break;
            }
            parts.push(right.as_ref());
            rest = left.as_ref();
        }
        parts.push(rest);
        let what = if *op == ast::BinaryOperator::And {
            "what `and` joins"
        } else {
            "what `or` joins"
        };
        let mut conditions = Vec::new();
        let mut span = self.span(rest);
        for part in parts.into_iter().rev() {
            let typed = self.lower(part, depth + 1)?;
            span = span.to(typed.span);
            conditions.push(typed.condition(what)?);
        }
        let expr = if *op == ast::BinaryOperator::And {
            Expr::All(conditions)
        } else {
            Expr::Any(conditions)
        };
        Ok(Typed::new(expr, ColumnType::Bool, span))
    }

    fn binary(
        &self,
        left: &ast::Expr,
        op: &ast::BinaryOperator,
        right: &ast::Expr,
        depth: usize,
    ) -> Result<Typed, Diagnostic> {
        use ast::BinaryOperator as Sql;
        let op = match op {
            Sql::Eq => BinaryOp::Equal,
            Sql::NotEq => BinaryOp::Differs,
            Sql::Lt => BinaryOp::Less,
            Sql::LtEq => BinaryOp::AtMost,
            Sql::Gt => BinaryOp::Greater,
            Sql::GtEq => BinaryOp::AtLeast,
            Sql::Plus => BinaryOp::Add,
            Sql::Minus => BinaryOp::Subtract,
            Sql::Multiply => BinaryOp::Multiply,
            Sql::Divide => BinaryOp::Divide,
            other => {
                let span = self.span(left).to(self.span(right));
                return Err(refused(span, format!("the language has no `{other}`"))
                    .help("there are = <> < <= > >= + - * / and, or, not"));
            }
        };
        let (left, right) = (self.lower(left, depth + 1)?, self.lower(right, depth + 1)?);
        match op {
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide => calculate(op, left, right),
            _ => compare(op, left, right),
        }
    }

    fn is_null(&self, sql: &ast::Expr, negated: bool, depth: usize) -> Result<Typed, Diagnostic> {
        let value = self.lower(sql, depth + 1)?;
        Ok(Typed::new(
            Expr::IsNull {
                value: Box::new(value.expr),
                negated,
            },
            ColumnType::Bool,
            value.span,
        ))
    }

    fn in_list(&self, sql: &ast::Expr, list: &[ast::Expr], negated: bool, depth: usize) -> Result<Typed, Diagnostic> {
        let mut value = self.lower(sql, depth + 1)?;
        let mut span = value.span;
        let mut items = Vec::new();
        for item in list {
            let item = self.lower(item, depth + 1)?;
            span = span.to(item.span);
            let (left, right) = unified(value, item, span)?;
            value = left;
            items.push(right.expr);
        }
        Ok(Typed::new(
            Expr::In {
                value: Box::new(value.expr),
                list: items,
                negated,
            },
            ColumnType::Bool,
            span,
        ))
    }

    fn between(&self, [value, low, high]: [&ast::Expr; 3], negated: bool, depth: usize) -> Result<Typed, Diagnostic> {
        let (value, low, high) = (
            self.lower(value, depth + 1)?,
            self.lower(low, depth + 1)?,
            self.lower(high, depth + 1)?,
        );
        let span = value.span.to(high.span);
        let (value, low) = unified(value, low, span)?;
        let (value, high) = unified(value, high, span)?;
        let expr = Expr::Between {
            value: Box::new(value.expr),
            low: Box::new(low.expr),
            high: Box::new(high.expr),
            negated,
        };
        Ok(Typed::new(expr, ColumnType::Bool, span))
    }

    fn like(
        &self,
        sql: &ast::Expr,
        pattern: &ast::Expr,
        [ignore_case, negated]: [bool; 2],
        depth: usize,
    ) -> Result<Typed, Diagnostic> {
        let (value, pattern) = (self.lower(sql, depth + 1)?, self.lower(pattern, depth + 1)?);
        if !matches!(value.ty, Some(ColumnType::Text) | None) {
            return Err(mistyped(
                value.span,
                format!("`like` compares text, not {}", noun(value.ty)),
            ));
        }
        let Expr::Literal(Cell::Text(text)) = &pattern.expr else {
            return Err(mistyped(pattern.span, "a pattern is a text in single quotes"));
        };
        let expr = Expr::Like {
            value: Box::new(value.expr),
            pattern: text.to_string(),
            ignore_case,
            negated,
        };
        Ok(Typed::new(expr, ColumnType::Bool, value.span.to(pattern.span)))
    }

    fn case(
        &self,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        depth: usize,
    ) -> Result<Typed, Diagnostic> {
        let mut tests = Vec::new();
        let mut results = Vec::new();
        for branch in conditions {
            tests.push(
                self.lower(&branch.condition, depth + 1)?
                    .condition("what `when` asks")?,
            );
            results.push(self.lower(&branch.result, depth + 1)?);
        }
        let last = otherwise.map(|sql| self.lower(sql, depth + 1)).transpose()?;
        let count = results.len();
        results.extend(last);
        let span = results
            .iter()
            .map(|result| result.span)
            .reduce(Span::to)
            .unwrap_or(self.quoted.whole());
        let (ty, mut results) = same_type(results)?;
        let otherwise = (results.len() > count).then(|| results.pop().map(Box::new)).flatten();
        Ok(Typed {
            expr: Expr::Case {
                branches: tests.into_iter().zip(results).collect(),
                otherwise,
            },
            ty,
            span,
        })
    }
}

/// The one type of all results of a `case`; among whole numbers and numbers it is number.
fn same_type(results: Vec<Typed>) -> Result<(Option<ColumnType>, Vec<Expr>), Diagnostic> {
    let mut common: Option<(ColumnType, Span)> = None;
    for result in &results {
        common = match (common, result.ty) {
            (known, None) => known,
            (None, Some(ty)) => Some((ty, result.span)),
            (Some((ColumnType::Int | ColumnType::Float, span)), Some(ColumnType::Float)) => {
                Some((ColumnType::Float, span))
            }
            (Some((ColumnType::Float, span)), Some(ColumnType::Int)) => Some((ColumnType::Float, span)),
            (Some((known, span)), Some(ty)) if known == ty => Some((known, span)),
            (Some((known, span)), Some(ty)) => {
                let message = format!("`case` gives {} here and {} there", noun(Some(known)), noun(Some(ty)));
                return Err(mistyped(result.span, message).label(span, noun(Some(known))));
            }
        };
    }
    let ty = common.map(|(ty, _)| ty);
    let convert = |result: Typed| match (result.expr, result.ty, ty) {
        (Expr::Literal(Cell::Int(number)), _, Some(ColumnType::Float)) => Expr::Literal(Cell::Float(number as f64)),
        (expr, Some(ColumnType::Int), Some(ColumnType::Float)) => {
            let one = Box::new(Expr::Literal(Cell::Float(1.0)));
            Expr::Binary {
                op: BinaryOp::Multiply,
                left: Box::new(expr),
                right: one,
            }
        }
        (expr, _, _) => expr,
    };
    Ok((ty, results.into_iter().map(convert).collect()))
}
