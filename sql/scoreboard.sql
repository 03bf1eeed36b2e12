-- Every scored prediction, once for each span of time that it belongs to. A span ends at the newest
-- target time of the interval that has an actual price, so that recorded bars have spans too.
CREATE OR REPLACE TEMP VIEW outcomes AS
WITH ends AS (SELECT interval, max(target_time) AS until FROM scored GROUP BY interval),
spans AS (
  SELECT interval, '1h' AS span, until - INTERVAL '1' HOUR AS since FROM ends
  UNION ALL SELECT interval, '24h', until - INTERVAL '1' DAY FROM ends
  UNION ALL SELECT interval, '7d', until - INTERVAL '7' DAY FROM ends
  UNION ALL SELECT interval, 'all', until - INTERVAL '99999' DAY FROM ends
)
SELECT s.*, spans.span
FROM scored s INNER JOIN spans ON spans.interval = s.interval AND s.target_time > spans.since;

-- Diebold-Mariano: is the lead in squared error of returns over persistence and over ARIMA more than
-- chance? Newey-West variance with Bartlett weights over `lags` lags, which equals the sum of squared
-- sums over each run of lags + 1 neighbours, cut at both ends, divided by lags + 1. Each such sum is a
-- running sum less the one lags + 1 places before: each running sum therefore counts at two places.
-- Corrected for small samples as in Harvey, Leybourne and Newbold (1997). Student's t is turned into a
-- normal by Hill's formula (1970), whose tail is a rational Chebyshev form with a relative error of
-- 1.2e-7. A negative statistic: the model leads.
CREATE OR REPLACE TEMP VIEW diebold_mariano AS
WITH differences AS (
  -- One text instead of seven columns: grouping by it takes half the time.
  SELECT concat_ws('|', symbol, interval, horizon, model_version, backfilled, span, rival) AS series,
         horizon, target_time,
         CASE rival WHEN 'arima'
           THEN (predicted_return - arima_return) * (predicted_return + arima_return - 2 * actual_return)
           ELSE predicted_return * (predicted_return - 2 * actual_return) END AS lead
  FROM outcomes
  CROSS JOIN (SELECT 'persistence' AS rival UNION ALL SELECT 'arima' AS rival) AS rivals
  WHERE rival = 'persistence' OR arima_return IS NOT NULL
),
numbered AS (
  SELECT series, horizon, lead,
         row_number() OVER (PARTITION BY series ORDER BY target_time) AS place,
         sum(lead) OVER (PARTITION BY series ORDER BY target_time
                         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS summed,
         avg(lead) OVER (PARTITION BY series) AS mean_lead,
         count(*) OVER (PARTITION BY series) AS n
  FROM differences
),
centred AS (
  SELECT series, horizon, n, mean_lead, place, summed - place * mean_lead AS summed,
         least(n - 1, greatest(horizon - 1, CAST(round(power(n, 1.0 / 3)) AS INT))) AS lags
  FROM numbered
),
runs AS (
  SELECT series, place + ended * (lags + 1) AS place, sum(summed * (1 - 2 * ended)) AS run,
         max(horizon) AS horizon, max(n) AS n, max(mean_lead) AS mean_lead, max(lags) AS lags
  FROM centred CROSS JOIN (SELECT 0 AS ended UNION ALL SELECT 1 AS ended) AS sides
  GROUP BY series, place + ended * (lags + 1)
),
variances AS (
  SELECT series, max(horizon) AS horizon, max(n) AS n, max(mean_lead) AS mean_lead,
         sum(run * run) / (max(lags) + 1) / max(n) AS variance
  FROM runs GROUP BY series
),
statistics AS (
  SELECT *, mean_lead / sqrt(variance / n) * sqrt(greatest(
             (n + 1 - 2 * horizon + horizon * (horizon - 1.0) / n) / n, 1.0 / n)) AS statistic
  FROM variances WHERE n >= 3 AND variance > 0
),
logs AS (
  SELECT *, n - 1.5 AS a, 48 * power(n - 1.5, 2) AS b,
         (n - 1.5) * ln(1 + power(statistic, 2) / (n - 1)) AS y
  FROM statistics
),
normals AS (
  SELECT *, 1 / (1 + 0.5 * z / sqrt(2.0)) AS t FROM (
    SELECT *, (((((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y * y + 100 + b) + y + 3) / b + 1)
              * sqrt(y) AS z
    FROM logs) AS hill
)
SELECT split_part(series, '|', 1) AS symbol, split_part(series, '|', 2) AS interval, horizon,
       split_part(series, '|', 4) AS model_version, split_part(series, '|', 5) = 'true' AS backfilled,
       split_part(series, '|', 6) AS span, split_part(series, '|', 7) AS rival, n, statistic,
       t * exp(-z * z / 2 - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418
         + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587
         + t * (-0.82215223 + t * 0.17087277))))))))) AS p_value
FROM normals;

-- The scoreboard. MAE, MSE and R2 are of prices; skills compare squared errors of returns, over the
-- rows that ARIMA forecast too for skill_arima; directional accuracy leaves out prices that did not
-- move, and carries Wilson's 95 % interval; mean_width is upper - lower over last_close.
CREATE OR REPLACE TEMP VIEW scoreboard AS
WITH sums AS (
  SELECT symbol, interval, horizon, model_version, backfilled, span, count(*) AS predictions,
         1 - sum(power(actual_return - predicted_return, 2))
           / nullif(sum(power(actual_return, 2)), 0) AS skill_persistence,
         1 - sum(CASE WHEN arima_return IS NOT NULL THEN power(actual_return - predicted_return, 2) END)
           / nullif(sum(power(actual_return - arima_return, 2)), 0) AS skill_arima,
         count(arima_return) AS arima_predictions,
         avg(abs(predicted_close - actual_close)) AS mae,
         avg(power(predicted_close - actual_close, 2)) AS mse,
         1 - avg(power(predicted_close - actual_close, 2)) / nullif(var_pop(actual_close), 0) AS r2,
         sum(CASE WHEN actual_return <> 0 AND predicted_return <> 0 THEN 1 ELSE 0 END) AS moves,
         sum(CASE WHEN actual_return * predicted_return > 0 THEN 1 ELSE 0 END) AS hits,
         avg(CASE WHEN covered THEN 1.0 ELSE 0.0 END) AS interval_coverage,
         avg(coverage) AS promised_coverage,
         avg((upper - lower) / last_close) AS mean_width,
         min(target_time) AS first_target, max(target_time) AS last_target
  FROM outcomes
  GROUP BY symbol, interval, horizon, model_version, backfilled, span
),
shares AS (
  SELECT *, hits / nullif(CAST(moves AS DOUBLE), 0) AS direction,
         1 + 3.8414588206941236 / nullif(moves, 0) AS stretch
  FROM sums
),
tests AS (
  SELECT symbol, interval, horizon, model_version, backfilled, span,
         max(CASE WHEN rival = 'persistence' THEN statistic END) AS dm_persistence,
         max(CASE WHEN rival = 'persistence' THEN p_value END) AS dm_p_persistence,
         max(CASE WHEN rival = 'arima' THEN statistic END) AS dm_arima,
         max(CASE WHEN rival = 'arima' THEN p_value END) AS dm_p_arima
  FROM diebold_mariano
  GROUP BY symbol, interval, horizon, model_version, backfilled, span
)
SELECT s.symbol, s.interval, s.horizon, s.model_version, s.backfilled, s.span, s.predictions,
       s.skill_persistence, s.skill_arima, s.arima_predictions, s.mae, s.mse, s.r2,
       s.direction AS directional_accuracy,
       CASE WHEN moves = 0 THEN 0.0 ELSE (direction + 1.9207294103470618 / moves - 1.959963984540054
         * sqrt(direction * (1 - direction) / moves + 0.9603647051735309 / moves / moves)) / stretch
       END AS direction_low,
       CASE WHEN moves = 0 THEN 1.0 ELSE (direction + 1.9207294103470618 / moves + 1.959963984540054
         * sqrt(direction * (1 - direction) / moves + 0.9603647051735309 / moves / moves)) / stretch
       END AS direction_high,
       s.interval_coverage, s.promised_coverage, s.mean_width,
       coalesce(t.dm_persistence, 0.0) AS dm_persistence,
       coalesce(t.dm_p_persistence, 1.0) AS dm_p_persistence,
       t.dm_arima, t.dm_p_arima, s.first_target, s.last_target
FROM shares s LEFT JOIN tests t
  ON t.symbol = s.symbol AND t.interval = s.interval AND t.horizon = s.horizon
  AND t.model_version = s.model_version AND t.backfilled = s.backfilled AND t.span = s.span;
