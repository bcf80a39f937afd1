"""Networks for tables as estimators of scikit-learn."""
