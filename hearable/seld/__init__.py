"""Sound event localisation and detection: DCASE metrics, features, ACCDOA targets, shards (extra ``synthesis``)."""
