-- The warehouse as people ask for it. DuckDB and Spark SQL run this same text. What stands in braces
-- `store/views.py` fills in: a table is its rows, each once, by the identity and the order of versions
-- in `store/schema.py`, without those that break a rule of it; there it also says what `covered` is.
-- `bar_length` is the length of the row's interval. `NAME_raw` has all versions.

-- The newest version of each bar.
CREATE OR REPLACE TEMP VIEW bars AS
SELECT *, open_time + {bar_length} AS close_time FROM {bars};

-- Until when each registered model was trained.
CREATE OR REPLACE TEMP VIEW fits AS SELECT * FROM {fits};

-- One row a prediction, also where two checkpoints have made it. in_sample: of a time that its model
-- was trained on, as a checkpoint that was lost leaves them.
CREATE OR REPLACE TEMP VIEW predictions AS
SELECT p.*, p.predicted_at > p.target_time AS backfilled,
       coalesce(p.as_of < f.trained_until, FALSE) AS in_sample
FROM {predictions} p
LEFT JOIN {fits} f ON f.model_version = replace(p.model_version, '-unproven', '');

-- What is predicted from the newest bar of each series, at each horizon. livelier: the share of the week
-- before in which the same series at the same horizon was expected to move less, null where too little is
-- known of it.
CREATE OR REPLACE TEMP VIEW newest AS
SELECT * FROM (
    SELECT *, max(as_of) OVER (PARTITION BY symbol, interval) AS newest_as_of, row_number() OVER (
        PARTITION BY symbol, interval, horizon ORDER BY as_of DESC, predicted_at DESC) AS place
    FROM predictions) AS ranked
WHERE place = 1 AND as_of = newest_as_of;
CREATE OR REPLACE TEMP VIEW outlook AS
SELECT n.symbol, n.interval, n.horizon, n.as_of, n.target_time, n.last_close, n.predicted_close,
       n.lower, n.upper, n.coverage, n.scale, {quantiles}, w.livelier, n.proven,
       n.model_version
FROM newest n
LEFT JOIN (
    SELECT n.symbol, n.interval, n.horizon, {livelier} AS livelier
    FROM newest n
    INNER JOIN predictions p
      ON p.symbol = n.symbol AND p.interval = n.interval AND p.horizon = n.horizon
     AND p.as_of >= n.as_of - INTERVAL '7' DAY AND p.as_of < n.as_of
    GROUP BY n.symbol, n.interval, n.horizon) AS w
  ON w.symbol = n.symbol AND w.interval = n.interval AND w.horizon = n.horizon;

-- Bars whose window was not complete, and why nothing was predicted from them.
CREATE OR REPLACE TEMP VIEW skipped AS SELECT * FROM {skipped};

-- ARIMA's forecast for the same moment, fitted on bars of earlier days alone.
CREATE OR REPLACE TEMP VIEW arima AS SELECT * FROM {arima};

-- Predictions whose target time has passed, each with the actual price: the close of the bar that
-- ends at the target time. Returns are logarithms of price over last_close. What a model has seen in
-- training is left out.
CREATE OR REPLACE TEMP VIEW scored AS
SELECT p.*, b.close AS actual_close,
       ln(b.close / p.last_close) AS actual_return,
       ln(p.predicted_close / p.last_close) AS predicted_return,
       ln(a.arima_close / p.last_close) AS arima_return,
       {covered} AS covered
FROM predictions p
INNER JOIN bars b
  ON b.symbol = p.symbol AND b.interval = p.interval AND b.close_time = p.target_time
LEFT JOIN arima a
  ON a.symbol = p.symbol AND a.interval = p.interval AND a.as_of = p.as_of AND a.horizon = p.horizon
WHERE NOT p.in_sample;

-- How good the predictions of a series are, at a horizon, of a model, over a span: `candlecast score`
-- computes it. MAE, MSE and R2 are of prices; skills compare squared errors of returns, skill_arima
-- over the rows that ARIMA forecast too; directional_accuracy leaves out prices that did not move, and
-- carries Wilson's 95 % interval, in which forecasts over the same bars count as fewer; mean_width is
-- upper - lower over last_close; dm_* is the statistic of Diebold and Mariano, negative where the model
-- leads, dm_p_* its two-sided p-value. Of predictions with quantiles, in log returns: crps, the
-- continuous ranked probability score, twice the mean of the pinball losses pinball_*;
-- interval_score, of lower..upper, upper - lower and what was missed by over half the chance to miss;
-- qlike, ln scale + size over scale; coverage_50 and _80 between quartiles and between the 10 and 90 %
-- quantiles; pit_1 to pit_8, the shares that fell below the first quantile, between two, and above the
-- last: 5, 5, 15, 25, 25, 15, 5 and 5 % of a true distribution. Of acting on the sign of each forecast:
-- gain_bp, the mean gain in basis points; turnover, how many times it buys or sells for a forecast;
-- break_even_bp, the fee of one side at which nothing is left, and break_even_low_bp..
-- break_even_high_bp, its 95 % interval. *_trailing are those of the last price with trailing
-- volatility, of its 90 % interval; crps_skill is 1 - CRPS / CRPS of that, dm_crps and dm_p_crps
-- compare the two.
CREATE OR REPLACE TEMP VIEW scores AS SELECT * FROM {scores};
CREATE OR REPLACE TEMP VIEW scoreboard AS SELECT * FROM scores;

-- Population stability of each feature and of the residuals of each champion.
CREATE OR REPLACE TEMP VIEW drift AS SELECT * FROM {drift};

-- The news, each article once, with its score from -1 to 1; `coins` with commas, '' for the market.
CREATE OR REPLACE TEMP VIEW articles AS SELECT * FROM {articles};

-- The news of each bar that was predicted with them; shares are of `count` articles.
CREATE OR REPLACE TEMP VIEW sentiment AS SELECT * FROM {sentiment};
