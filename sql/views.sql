-- The tables of the warehouse as people ask for them. {warehouse} is filled in by `candlecast sql`;
-- any engine that reads Parquet can run the same text.

-- The newest version of each bar.
CREATE OR REPLACE TEMP VIEW bars AS
SELECT symbol, interval, open_time, open, high, low, close, base_volume, quote_volume, source, fetched_at
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY symbol, interval, open_time ORDER BY fetched_at DESC, batch DESC) AS newest
  FROM parquet.`{warehouse}/bars`
) WHERE newest = 1;

-- One row a prediction, also where two checkpoints have made it.
CREATE OR REPLACE TEMP VIEW predictions AS
SELECT symbol, interval, as_of, horizon, target_time, last_close, predicted_close, lower, upper,
       coverage, model_version, query_id, batch_id, predicted_at,
       predicted_at > target_time AS backfilled
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY symbol, interval, as_of, horizon, model_version ORDER BY predicted_at) AS first
  FROM parquet.`{warehouse}/predictions`
) WHERE first = 1;

-- Predictions whose target time has come, beside what the price really was: the close of the bar
-- that ends at the target time.
CREATE OR REPLACE TEMP VIEW scored AS
SELECT p.*, b.close AS actual_close,
       ln(b.close / p.last_close) AS actual_return,
       ln(p.predicted_close / p.last_close) AS predicted_return
FROM predictions p
INNER JOIN bars b
  ON b.symbol = p.symbol AND b.interval = p.interval
  AND b.open_time = timestamp_millis(unix_millis(p.target_time)
      - CASE p.interval WHEN '1m' THEN 60000 WHEN '5m' THEN 300000 WHEN '15m' THEN 900000
                        WHEN '1h' THEN 3600000 WHEN '1d' THEN 86400000 END);
