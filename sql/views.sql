-- The tables of the warehouse as people ask for them. DuckDB and Spark SQL run this same text over
-- bars_raw, predictions_raw and so on: the Parquet folders as they lie there.

-- The newest version of each bar.
CREATE OR REPLACE TEMP VIEW bars AS
SELECT symbol, interval, open_time, open, high, low, close, base_volume, quote_volume, source,
       fetched_at,
       open_time + CASE interval WHEN '1m' THEN INTERVAL '1' MINUTE WHEN '5m' THEN INTERVAL '5' MINUTE
                                 WHEN '15m' THEN INTERVAL '15' MINUTE WHEN '1h' THEN INTERVAL '1' HOUR
                                 WHEN '1d' THEN INTERVAL '1' DAY END AS close_time
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY symbol, interval, open_time ORDER BY fetched_at DESC, batch DESC) AS newest
  FROM bars_raw
) AS versions WHERE newest = 1;

-- One row a prediction, also where two checkpoints have made it.
CREATE OR REPLACE TEMP VIEW predictions AS
SELECT symbol, interval, as_of, horizon, target_time, last_close, predicted_close, lower, upper,
       coverage, model_version, query_id, batch_id, predicted_at,
       predicted_at > target_time AS backfilled
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY symbol, interval, as_of, horizon, model_version ORDER BY predicted_at) AS earliest
  FROM predictions_raw
) AS made WHERE earliest = 1;

-- Bars whose window was not complete when they came, and why nothing was predicted.
CREATE OR REPLACE TEMP VIEW skipped AS
SELECT DISTINCT symbol, interval, as_of, reason FROM skipped_raw;

-- What ARIMA would have said at the same moment, fitted on bars of earlier days alone.
CREATE OR REPLACE TEMP VIEW arima AS
SELECT symbol, interval, as_of, horizon, max(arima_close) AS arima_close, max(fitted_until) AS fitted_until
FROM arima_raw GROUP BY symbol, interval, as_of, horizon;

-- Predictions whose target time has come, beside what the price really was: the close of the bar
-- that ends at the target time. Returns are logarithms of price over last_close.
CREATE OR REPLACE TEMP VIEW scored AS
SELECT p.*, b.close AS actual_close,
       ln(b.close / p.last_close) AS actual_return,
       ln(p.predicted_close / p.last_close) AS predicted_return,
       ln(a.arima_close / p.last_close) AS arima_return,
       b.close >= p.lower AND b.close <= p.upper AS covered
FROM predictions p
INNER JOIN bars b
  ON b.symbol = p.symbol AND b.interval = p.interval AND b.close_time = p.target_time
LEFT JOIN arima a
  ON a.symbol = p.symbol AND a.interval = p.interval AND a.as_of = p.as_of AND a.horizon = p.horizon;

-- The news, each article once, with its score from -1 to 1; `coins` with commas, '' for the market.
CREATE OR REPLACE TEMP VIEW articles AS
SELECT provider, id, published_at, available_at, title, source, url, coins, score, weight
FROM (
  SELECT *, row_number() OVER (PARTITION BY provider, id ORDER BY available_at, batch) AS earliest
  FROM articles_raw
) AS listed WHERE earliest = 1;

-- What the news said in each bar that was predicted with them; shares are of `count` articles.
CREATE OR REPLACE TEMP VIEW sentiment AS
SELECT symbol, interval, open_time, count, mean, weighted_mean, positive, negative
FROM (
  SELECT *, row_number() OVER (PARTITION BY symbol, interval, open_time ORDER BY batch) AS earliest
  FROM sentiment_raw
) AS told WHERE earliest = 1;
